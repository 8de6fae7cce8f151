"use strict";
// The page at `/`: asks for api/v1/node and draws a tile for each device, in place of the table of the server. The
// document's shape is described in docs/live.md. Texts are set as text alone, so that no name can be markup.
(() => {
  const SCHEMA = 1;
  const PERIOD = 2000;
  const SLOWEST = 30000;
  const TIMEOUT = 10000;
  const GIB = 2 ** 30;
  /// Holders of a device that its tile names; its details name all.
  const HOLDERS = 3;

  const SVG = "http://www.w3.org/2000/svg";
  const append = (element, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children.flat(2).filter((child) => child !== undefined && child !== null));
    return element;
  };
  const el = (name, attributes, ...children) => append(document.createElement(name), attributes, children);
  const svg = (name, attributes, ...children) => append(document.createElementNS(SVG, name), attributes, children);

  /// Makes an element like another and leaves what is the same, so that focus and open details stay.
  function renew(old, fresh) {
    if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
    if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return undefined;
    }
    for (const { name } of [...old.attributes]) if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const children = [...fresh.childNodes];
    children.forEach((child, at) => (old.childNodes[at] ? renew(old.childNodes[at], child) : old.append(child)));
    while (old.childNodes.length > children.length) old.lastChild.remove();
    return undefined;
  }

  const percent = (ratio) => `${Math.round(ratio * 100)} %`;
  const celsius = (degrees) => `${Math.round(degrees)} °C`;
  const watts = (power) => `${Math.round(power)} W`;
  const gib = (bytes) => `${(bytes / GIB).toFixed(bytes < 10 * GIB ? 1 : 0)} GiB`;
  const hertz = (rate) => (rate >= 1e9 ? `${(rate / 1e9).toFixed(2)} GHz` : `${Math.round(rate / 1e6)} MHz`);
  const words = (name) => name.replaceAll("_", " ");
  const klass = (word) => word.toLowerCase().replaceAll(" ", "-");
  const badge = (word) => el("span", { class: `state ${klass(word)}` }, word);

  /// A line over five minutes; it is broken where readings are missing for longer than the interval.
  function spark(title, means, most, show, node) {
    if (means === undefined) return undefined;
    const known = means.filter((mean) => mean !== null);
    const top = most || Math.max(...known) || 1;
    const longest = Math.ceil(node.interval_seconds / node.step_seconds) + 1;
    let path = "";
    let last;
    means.forEach((mean, x) => {
      if (mean === null) return;
      const y = (20 - 19 * Math.min(mean / top, 1)).toFixed(1);
      path += last !== undefined && x - last <= longest ? `L${x} ${y}` : `M${x} ${y}h.1`;
      last = x;
    });
    const label = `${title} over five minutes: ${show(Math.min(...known))} to ${show(Math.max(...known))}`;
    return svg("svg", { class: "spark", role: "img", "aria-label": label, viewBox: `0 0 ${means.length} 21`, preserveAspectRatio: "none" },
      svg("path", { class: "base", d: `M0 20.5h${means.length}`, "vector-effect": "non-scaling-stroke" }),
      svg("path", { d: path, "vector-effect": "non-scaling-stroke" }));
  }

  function figure(title, value, limit, show, means, most, node) {
    if (value === undefined) return undefined;
    const of = limit === undefined ? undefined : el("span", { class: "of" }, ` of ${show(limit)}`);
    return el("div", {}, el("dt", {}, title), el("dd", {}, show(value), of, spark(title, means, most, show, node)));
  }

  const fact = (title, text) => (text === undefined || text === "" ? [] : [el("dt", {}, title), el("dd", {}, text)]);

  /// A pod, container, job or unit, and what it has of the device.
  function holder({ workload_kind: kind, namespace, pod, job, container, user, share, partition, memory_used_bytes: memory }) {
    const named = pod === undefined ? job : `${namespace === undefined ? "" : `${namespace}/`}${pod}`;
    const more = [share === undefined ? undefined : `share ${share}`, user === undefined ? undefined : `user ${user}`,
      partition === undefined ? undefined : `on ${partition}`, memory === undefined ? undefined : gib(memory)];
    return [[kind, named, container].filter(Boolean).join(" "), ...more].filter(Boolean).join(", ");
  }

  function heldBy(holders) {
    if (holders === undefined) return undefined;
    const more = holders.length - HOLDERS;
    const items = holders.slice(0, HOLDERS).map((one) => el("li", {}, holder(one)));
    return [el("p", { class: "soft" }, "Held by"), el("ul", {}, items, more > 0 ? el("li", {}, `and ${more} more`) : undefined)];
  }

  function details(device) {
    const pcie = device.pcie ?? {};
    const link = (name) => (pcie[name] === undefined ? undefined : `${pcie[name]}${pcie[`${name}_max`] === undefined ? "" : ` of ${pcie[`${name}_max`]}`}`);
    const facts = [
      ...((device.holders ?? []).length > HOLDERS ? fact("Held by", device.holders.map(holder).join("; ")) : []),
      ...fact("Engines", Object.entries(device.engines ?? {}).map(([name, ratio]) => `${words(name)} ${percent(ratio)}`).join(", ")),
      ...fact("Clocks", (device.clocks ?? []).map(({ domain, hertz: now, max_hertz }) => `${domain} ${hertz(now)}${max_hertz === undefined ? "" : ` of ${hertz(max_hertz)}`}`).join(", ")),
      ...fact("Temperatures", (device.temperatures ?? []).map(({ sensor, celsius: now, limit_celsius }) => `${words(sensor)} ${celsius(now)}${limit_celsius === undefined ? "" : ` of ${celsius(limit_celsius)}`}`).join(", ")),
      ...fact("Links up", (device.links ?? []).map(({ kind, up, total }) => `${words(kind)} ${up} of ${total}`).join(", ")),
      ...fact("PCIe generation", link("generation")),
      ...fact("PCIe lanes", link("width")),
      ...(device.partitions ?? []).flatMap((part) => fact(part.partition, [
        part.info.partition_profile,
        part.memory_used_bytes === undefined ? undefined : `${gib(part.memory_used_bytes)} of ${gib(part.memory_total_bytes)}`,
        ...Object.entries(part.engines ?? {}).map(([name, ratio]) => `${words(name)} ${percent(ratio)}`),
      ].filter(Boolean).join(", "))),
      ...fact("UUID", device.uuid),
      ...Object.entries(device.info).filter(([name]) => name !== "model").flatMap(([name, text]) => fact(words(name), text)),
    ];
    return facts.length === 0 ? undefined : el("details", {}, el("summary", {}, `Details of ${device.device}`), el("dl", { class: "facts" }, facts));
  }

  function tile(device, node) {
    const { history } = device;
    const hottest = device.temperatures?.[0];
    const busiest = Object.entries(device.engines ?? {}).sort((a, b) => b[1] - a[1])[0];
    const busy = device.utilization_ratio ?? busiest?.[1];
    const lost = device.status === "up" ? undefined : el("li", {}, device.reason ? `${device.status}: ${device.reason}` : device.status);
    const reasons = (device.health_reasons ?? []).map(({ reason, detail }) => `${words(reason)}${detail ? ` (${detail})` : ""}`).join(", ");
    const health = reasons === "" ? undefined : el("li", {}, el("strong", {}, `Health ${device.health}`), `: ${reasons}`);
    const findings = (device.findings ?? []).map(({ state, title, text }) => el("li", {}, badge(state), ` ${title}${text ? `: ${text}` : ""}`));
    const errors = (device.errors ?? []).map(({ kind, code, count, last_seconds, meaning, action }) =>
      el("li", {}, el("strong", {}, `${kind.toUpperCase()} ${code}`), ` ${meaning ?? ""} (${count}${last_seconds === undefined ? "" : `, last ${new Date(last_seconds * 1000).toLocaleString()}`}). ${action ?? ""}`));
    const throttled = (device.throttled_by ?? []).filter((reason) => reason !== "idle").map(words).join(", ");
    return el("article", { class: `tile ${klass(device.state)}`, "aria-label": `${device.device}: ${device.state}` },
      el("header", {}, el("h2", {}, device.device), badge(device.state)),
      el("p", { class: "soft" }, [device.info.model, device.asleep ? "asleep" : undefined].filter(Boolean).join(", ") || device.family),
      el("ul", {}, lost, health, findings, errors),
      heldBy(device.holders),
      el("dl", { class: "big" },
        figure(device.utilization_ratio === undefined && busiest ? `Engine ${words(busiest[0])}` : "Utilization", busy, undefined, percent, history.utilization_ratio, 1, node),
        figure("Memory", device.memory_used_bytes, device.memory_total_bytes, gib, history.memory_used_bytes, device.memory_total_bytes, node),
        figure("Temperature", hottest?.celsius, hottest?.limit_celsius, celsius, history.temperature_celsius, hottest?.limit_celsius, node),
        figure("Power", device.power_watts, device.power_limit_watts, watts, history.power_watts, device.power_limit_watts, node)),
      throttled ? el("p", {}, `Clocks held down by: ${throttled}`) : undefined,
      details(device));
  }

  function source({ family, status, state, library, version, reason, devices, devices_expected }) {
    const count = devices === undefined ? "" : `${devices}${devices_expected === undefined ? "" : ` of ${devices_expected}`}`;
    return el("tr", {}, el("th", { scope: "row" }, family), el("td", {}, badge(state)), el("td", {}, library ?? reason ?? (status === "up" ? "connected" : status)), el("td", {}, version ?? ""), el("td", {}, count));
  }

  const main = document.getElementById("devices");
  const summary = document.getElementById("summary");
  const say = (text) => { if (summary.textContent !== text) summary.textContent = text; };

  function draw(node) {
    if (node.schema !== SCHEMA) throw new Error("the exporter was renewed; reload this page");
    const tiles = el("div", { class: "tiles" }, node.devices.map((device) => tile(device, node)));
    renew(main, el("main", { id: "devices", "aria-label": "Devices" }, node.devices.length ? tiles : el("p", {}, "No device.")));
    const sources = document.getElementById("sources");
    const head = ["Source", "State", "Library, or why there is none", "Version", "Devices"].map((title) => el("th", { scope: "col" }, title));
    renew(sources, el("table", { id: "sources" }, el("tbody", {}, el("tr", {}, head), node.sources.map(source))));
    const bad = node.devices.filter(({ state }) => state !== "OK").map(({ device, state }) => `${device} ${state}`);
    const short = node.sources.filter(({ state }) => state === "CRIT").map(({ family, devices, devices_expected }) => `${family} has ${devices} of ${devices_expected} devices`);
    const silent = (node.workloads ?? []).filter(({ up }) => !up).map(({ interface: name }) => `some holders may not be known: ${words(name)} is down`);
    say([`${node.devices.length} devices, ${node.devices.length - bad.length} OK`, bad.join(", "), ...short, ...silent].filter(Boolean).join("; "));
    document.body.classList.remove("stale");
  }

  let failures = 0;
  let timer;
  let since = new Date();
  async function ask() {
    timer = undefined;
    try {
      const response = await fetch("api/v1/node", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
      if (!response.ok) throw new Error(`status ${response.status}`);
      draw(await response.json());
      failures = 0;
      since = new Date();
    } catch (error) {
      failures += 1;
      document.body.classList.add("stale");
      say(`What is shown is of ${since.toLocaleTimeString()}: ${error.message}`);
    }
    // A page that nobody sees asks for nothing.
    if (!document.hidden) timer = setTimeout(ask, Math.min(PERIOD * 2 ** failures, SLOWEST));
    else timer = null;
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && timer === null) ask();
  });
  ask();
})();
