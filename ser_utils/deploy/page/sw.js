// Keeps the page on the device, so that it opens without a network, and offers a newer version.
// `make app` puts VERSION, FILES and LITERT before these lines.
const PAGES = `ser-page ${registration.scope} `, PAGE = PAGES + VERSION;
const RUNTIMES = `ser-litert ${registration.scope} `, RUNTIME = RUNTIMES + LITERT;

async function install() {
  const cache = await caches.open(PAGE);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
  const old = (await caches.keys()).filter((name) => name.startsWith(RUNTIMES) && name !== RUNTIME);
  for (const name of old) {  // what this browser uses of LiteRT.js comes along in its new version
    const used = await (await caches.open(name)).keys();
    await (await caches.open(RUNTIME)).addAll(used.map(({ url }) => new Request(url, { cache: "no-cache" })));
  }
}

// Other pages of this host may have caches, too; those are not ours.
async function activate() {
  for (const name of await caches.keys()) {
    const ours = name.startsWith(PAGES) || name.startsWith(RUNTIMES);
    if (ours && name !== PAGE && name !== RUNTIME) await caches.delete(name);
  }
  await clients.claim();
}

async function answer(request) {
  for (const name of [PAGE, RUNTIME]) {
    const kept = await (await caches.open(name)).match(request, { ignoreSearch: true });
    if (kept) return kept;
  }
  return fetch(request);
}

// Keeps what is not there yet; false if it cannot, for example because the storage is full.
async function keep(files) {
  const cache = await caches.open(RUNTIME), kept = await Promise.all(files.map((file) => cache.match(file)));
  return cache.addAll(files.filter((_, i) => !kept[i])).then(() => true, () => false);
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
addEventListener("message", (event) => {
  const { data, ports } = event;
  if (data === "take over") skipWaiting();
  if (data.keep) event.waitUntil(keep(data.keep).then((kept) => ports[0].postMessage(kept)));
});
