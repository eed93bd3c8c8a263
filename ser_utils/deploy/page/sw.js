// Keeps the page on the device, so that it opens without a network, and offers a newer version.
// `make app` puts VERSION, FILES and LITERT before these lines.
const PAGE = `ser-page ${registration.scope} ${VERSION}`, RUNTIME = `ser-litert ${registration.scope} ${LITERT}`;

async function install() {
  const cache = await caches.open(PAGE);
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
}

// Other pages of this host may have caches, too; those are not ours.
async function activate() {
  const ours = new RegExp(`^ser-(page|litert) ${registration.scope} `);
  for (const name of await caches.keys()) {
    if (ours.test(name) && name !== PAGE && name !== RUNTIME) await caches.delete(name);
  }
  await clients.claim();
}

async function answer(request) {
  const kept = await (await caches.open(PAGE)).match(request, { ignoreSearch: true });
  if (kept) return kept;
  const runtime = await caches.open(RUNTIME), loaded = await runtime.match(request);
  if (loaded) return loaded;
  const response = await fetch(request);
  if (response.ok && request.url.startsWith(`${registration.scope}litert/`)) await runtime.put(request, response.clone());
  return response;
}

addEventListener("install", (event) => event.waitUntil(install()));
addEventListener("activate", (event) => event.waitUntil(activate()));
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
addEventListener("message", ({ data }) => data === "take over" && skipWaiting());
