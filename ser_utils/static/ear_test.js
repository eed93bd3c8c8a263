// The ear test: plays sounds and sends answers. What it shows is computed in Python.

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

function confusionMatrix(emotions, table) {
  const head = (text, scope) => make("th", { scope, textContent: text });
  const most = Math.max(1, ...table.flat());
  const rows = table.map((counts, row) => make("tr", {}, head(emotions[row], "row"),
    ...counts.map((count, column) => {
      const cell = make("td", { textContent: count, className: row === column ? "ser-right" : "" });
      cell.classList.toggle("ser-zero", count === 0);
      cell.style.setProperty("--share", `${(60 * count) / most}%`);
      return cell;
    })));
  const title = make("caption", {
    textContent: "Your answers. Rows: emotion of the clip. Columns: your answer. Correct answers are framed.",
  });
  const columns = make("tr", {}, make("td"), ...emotions.map((emotion) => head(emotion, "col")));
  return make("table", {}, title, make("thead", {}, columns), make("tbody", {}, ...rows));
}

function render({ model, el }) {
  const player = new Audio();
  const status = make("p", { className: "ser-status" });
  const trouble = make("p", { className: "ser-error" });
  const chance = make("p", { className: "ser-hint" });
  const main = make("button", { className: "ser-main", onclick: () => pressMain() });
  const answers = make("div", { className: "ser-row" });
  const hint = make("p", { className: "ser-hint" });
  const result = make("div", { className: "ser-result" });
  const root = make("div", { className: "ser-widget", onkeydown: (event) => pressKey(event) },
    status, trouble, make("div", { className: "ser-row" }, main), answers, hint, result, chance);
  let asked = false;  // set by this view; other views or a reloaded page must not start playing

  status.setAttribute("aria-live", "polite");
  trouble.setAttribute("role", "alert");
  answers.setAttribute("role", "group");
  answers.setAttribute("aria-label", "Which emotion?");
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Ear test");

  function send(message) {
    asked = true;
    model.send(message);
  }

  async function play() {
    trouble.textContent = "";
    player.currentTime = 0;
    try {
      await player.play();
    } catch (error) {
      if (error.name === "AbortError") return;  // interrupted by the next clip
      trouble.textContent = "The browser could not play the clip. Press \"Play again\".";
    }
  }

  function pressMain() {
    if (model.get("shown").stage === "ask") play();
    else send({});
  }

  function answer(emotion) {
    player.pause();
    send({ answer: emotion, clip: model.get("shown").clip });
  }

  function pressKey(event) {
    const { stage, emotions } = model.get("shown");
    if (stage !== "ask" || event.ctrlKey || event.altKey || event.metaKey) return;
    const number = /^[1-9]$/.test(event.key) ? Number(event.key) : 0;
    const onButton = event.target.tagName === "BUTTON";  // there, the space bar presses it
    const again = event.key.toLowerCase() === "p" || (event.key === " " && !onButton);
    if (!again && !(number && number <= emotions.length)) return;
    event.stopPropagation();
    event.preventDefault();
    if (event.repeat) return;
    if (again) play();
    else answer(number - 1);
  }

  function makeAnswers(emotions) {
    answers.replaceChildren(...emotions.map((emotion, i) => {
      const button = make("button", { onclick: () => answer(i) });
      if (i < 9) {
        const key = make("kbd", { textContent: i + 1, ariaHidden: "true" });
        button.setAttribute("aria-keyshortcuts", i + 1);
        button.append(key, " ");
      }
      button.append(emotion);
      return button;
    }));
    hint.textContent = `Keys: 1 to ${Math.min(9, emotions.length)} to answer, P to play again.`;
  }

  function load(sound) {
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(new Blob([sound], { type: "audio/mpeg" }));
  }

  function draw() {
    const shown = model.get("shown");
    const asking = shown.stage === "ask";
    status.textContent = shown.status;
    chance.textContent = shown.chance;
    main.textContent = { start: "Start", ask: "Play again", end: "Take the test again" }[shown.stage];
    answers.hidden = hint.hidden = !asking;
    result.replaceChildren(...(shown.table ? [confusionMatrix(shown.emotions, shown.table)] : []));
    if (asking) load(shown.sound);
    if (!asked) return;
    asked = false;
    main.focus();  // off the answer, so that the space bar does not repeat it
    if (asking) play();
  }

  makeAnswers(model.get("shown").emotions);
  for (const node of root.querySelectorAll("button")) {
    node.dataset.lmSuppressShortcuts = "true";  // keys pressed here must not trigger Jupyter's shortcuts
  }
  model.on("change:shown", draw);
  draw();
  el.append(root);
  return () => {
    player.pause();
    URL.revokeObjectURL(player.src);
  };
}

export default { render };
