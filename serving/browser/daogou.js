/* Daogou in a shop's pages. No dependency, no cookie.
 *
 *   <script src="https://daogou.shop.example/daogou.js" data-key="pk_…"></script>
 *
 * Nothing of a shopper is stored, and no event is sent, before consent: daogou.consent(true), or data-consent="granted"
 * where the shop has asked already. daogou.consent(false) says so to the shop, forgets all, and holds on later pages.
 */
(function () {
  "use strict";
  var script = document.currentScript;
  var base = script.dataset.url || new URL(script.src).origin, key = script.dataset.key || "";
  var MOST_QUEUED = 200, MOST_SENT = 50, MOST_BYTES = 60000, SESSION_MS = 30 * 60 * 1000;
  var FIRST_PAUSE_MS = Number(script.dataset.pause) || 1000, LONGEST_PAUSE_MS = 60000;
  var GATHER_MS = Number(script.dataset.gather) || 200;
  var memory = {}, queue = [], sending = null, timer = null, pause = FIRST_PAUSE_MS, notBefore = 0;
  var user = null, token = null, seen = null, dropped = 0;

  function read(name) {
    try { return localStorage.getItem("daogou." + name) } catch (e) { return memory[name] === undefined ? null : memory[name] }
  }
  function write(name, value) {
    memory[name] = value;
    try { localStorage.setItem("daogou." + name, value) } catch (e) { /* a private window: for this page alone */ }
  }
  function forget(name) {
    delete memory[name];
    try { localStorage.removeItem("daogou." + name) } catch (e) { /* nothing was kept */ }
  }
  function randomId() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), function (b) { return b.toString(16).padStart(2, "0") }).join("");
  }
  function kept(name, made) {
    var value = read(name) || made();
    write(name, value);
    return value;
  }
  function granted() {
    var said = read("consent");
    return said === null ? script.dataset.consent === "granted" : said === "granted";
  }
  function anonymousId() { return kept("anonymous_id", randomId) }
  function sessionId() {
    var now = Date.now(), held = (read("session") || "").split(" ");
    var id = now - Number(held[1]) < SESSION_MS && held[0] ? held[0] : randomId();
    write("session", id + " " + now);
    return id;
  }

  function eventOf(name, fields) {
    var event = {
      event_id: randomId(), event_name: name, occurred_at: new Date().toISOString(),
      anonymous_id: anonymousId(), session_id: sessionId(),
      context: { page: location.origin + location.pathname, locale: document.documentElement.lang || navigator.language }
    };
    try { event.context.time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone } catch (e) { /* not told */ }
    return Object.assign(event, fields);
  }
  function put(event) {
    if (queue.some(function (one) { return one.event_id === event.event_id })) return event.event_id;
    queue.push(event);
    while (queue.length > MOST_QUEUED) { queue.shift(); dropped++ }
    later(GATHER_MS);
    return event.event_id;
  }
  function later(ms) {
    if (timer === null && queue.length) timer = setTimeout(function () { timer = null; send() }, Math.max(ms, notBefore - Date.now()));
  }
  /* The first events of the queue that one call holds: as they are sent, and which they are. */
  function portion() {
    var at = new Date().toISOString(), taken = [], size = 2, body = [];
    for (var i = 0; i < queue.length && taken.length < MOST_SENT; i++) {
      var text = JSON.stringify(Object.assign({}, queue[i], { sent_at: at }));
      var bytes = new Blob([text]).size + 1;
      if (taken.length && size + bytes > MOST_BYTES) break;
      taken.push(queue[i]); body.push(text); size += bytes;
    }
    return { events: taken, body: "[" + body.join(",") + "]" };
  }
  function done(events) { queue = queue.filter(function (one) { return events.indexOf(one) < 0 }) }
  function address(path) { return base + path + (key ? "?key=" + encodeURIComponent(key) : "") }

  /* Plain text with the key in the address needs no preflight request. */
  function call(path, body, headers) {
    return fetch(address(path), {
      method: "POST", body: body, keepalive: body.length < MOST_BYTES, credentials: "omit", referrerPolicy: "origin",
      headers: Object.assign({ "Content-Type": "text/plain" }, headers)
    }).then(function (response) {
      return response.json().catch(function () { return {} }).then(function (answer) {
        if (response.ok) return answer;
        var error = new Error(answer.detail || "status " + response.status);
        error.status = response.status; error.code = answer.code;
        error.retryAfter = Number(response.headers.get("Retry-After")) || 0;
        throw error;
      });
    });
  }
  function again(error) { return !error.status || error.status === 429 || error.status === 503 }
  function warn(what, code, path) { if (window.console) console.warn("daogou: " + what, code || "", path || "") }

  /* Settles when all is sent, or after an attempt that failed for now: then it stays in the queue. */
  function flush() {
    return send().then(function () { if (queue.length && Date.now() >= notBefore) return flush() });
  }
  function send() {
    if (sending) return sending;
    if (!queue.length || Date.now() < notBefore) { later(0); return Promise.resolve() }
    var part = portion();
    sending = call("/v1/events", part.body).then(function (answer) {
      done(part.events);
      seen = answer.consistency_token || seen;
      (answer.rejected || []).forEach(function (one) { warn("an event was refused", one.code, one.path) });
      pause = FIRST_PAUSE_MS;
    }, function (error) {
      if (!again(error)) { done(part.events); dropped += part.events.length; warn("events were refused", error.code || error.status); return }
      notBefore = Date.now() + Math.max((error.retryAfter || 0) * 1000, pause * (0.5 + Math.random() / 2));
      pause = Math.min(LONGEST_PAUSE_MS, pause * 2);
    }).then(function () { sending = null; later(0) });
    return sending;
  }
  /* The page goes: what is on its way may be lost with it, so it is sent once more; its ids make it count once. */
  function leave() {
    while (queue.length) {
      var part = portion();
      if (!navigator.sendBeacon(address("/v1/events"), new Blob([part.body], { type: "text/plain" }))) break;
      done(part.events);
    }
    if (queue.length && granted()) write("queue", JSON.stringify(queue));
  }
  function takeUp() {
    var left = read("queue");
    if (left === null || !granted()) return;
    forget("queue");
    try { JSON.parse(left).forEach(put) } catch (e) { warn("kept events cannot be read") }
  }

  function track(name, fields) { return granted() ? put(eventOf(name, fields)) : null }
  function consent(given) {
    if (given) {
      if (read("consent") === "granted") return null;
      write("consent", "granted");
      return track("consent_updated", { consent: { personalization: true } });
    }
    var was = granted(), event = was ? eventOf("consent_updated", { consent: { personalization: false } }) : null;
    queue = [];
    ["anonymous_id", "session", "queue"].forEach(forget);
    user = token = seen = null;
    if (was || read("consent") !== null) write("consent", "denied");
    return event && put(event);
  }
  function identify(userId, shopperToken) {
    if (!granted()) return Promise.resolve(null);
    user = String(userId); token = shopperToken || null;
    var body = JSON.stringify({ anonymous_id: anonymousId(), user_id: user }), left = 5, wait = FIRST_PAUSE_MS;
    var headers = Object.assign({ "Idempotency-Key": randomId() }, token && { "X-Shopper-Token": token });
    function attempt() {
      return call("/v1/identify", body, headers).then(function (answer) { seen = answer.consistency_token || seen; return answer }, function (error) {
        if (!again(error) || --left === 0) throw error;
        var ms = Math.max((error.retryAfter || 0) * 1000, wait);
        wait *= 2;
        return new Promise(function (go) { setTimeout(go, ms) }).then(attempt);
      });
    }
    return attempt();
  }
  /* Without consent the list is nobody's: it is asked for without any id. */
  function recommend(asked) {
    if (!granted()) return call("/v1/recommendations", JSON.stringify(Object.assign({}, asked, { personalization: "none" })));
    return flush().then(function () {
      var who = { anonymous_id: anonymousId(), session_id: sessionId() };
      if (user !== null && token !== null) who.user_id = user;
      if (seen !== null) who.min_token = seen;
      return call("/v1/recommendations", JSON.stringify(Object.assign(who, asked)), who.user_id && { "X-Shopper-Token": token });
    });
  }
  function line(item) { return { item_id: item.item_id, index: item.position } }
  function shown(answer) {
    return track("view_item_list", { recommendation_id: answer.recommendation_id, items: answer.items.map(line) });
  }
  function clicked(answer, itemId) {
    var found = answer.items.filter(function (item) { return item.item_id === itemId }).map(line);
    return track("select_item", { recommendation_id: answer.recommendation_id, items: found.length ? found : [{ item_id: itemId }] });
  }

  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", function () { if (document.visibilityState === "hidden") send() });
  takeUp();
  window.daogou = {
    track: track, identify: identify, consent: consent, recommend: recommend, shown: shown, clicked: clicked, flush: flush,
    get anonymousId() { return granted() ? anonymousId() : null },
    get waiting() { return queue.length },
    get dropped() { return dropped }
  };
})();
