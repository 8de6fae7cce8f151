// Draws dashboards over a Prometheus, in a headless browser.
//
//     node draw.mjs TOOLS < {"prometheus": URL, "range": SECONDS, "interval": SECONDS, "pictures": FOLDER or null,
//                            "boards": [{"name": FILE, "board": DASHBOARD, "chosen": {VARIABLE: VALUE}}, ...]}
//     > {"NAME": [{"title": ..., "tiles": [...], "legend": [...], "rows": [...], ...}, ...], ...}
//
// TOOLS is the folder with node_modules. What a variable chooses is its value in "chosen", else All, else its first value.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const tools = process.argv[2];
const require = createRequire(join(tools, "tools.js"));
const { chromium } = require("playwright-core");
const esbuild = require("esbuild");
const UPNG = require("upng-js");

const WIDTH = 1440;
/// Higher than any board: tables draw only what is in sight.
const HEIGHT = 5000;
/// Few enough colours for small files, many enough for smooth text.
const COLOURS = 16;
/// Grafana's choice of points where a panel says nothing: about one for each pixel.
const POINTS = 500;

const input = JSON.parse(readFileSync(0, "utf8"));
const to = Math.floor(Date.now() / 1000);
const range = { from: to - input.range, to };

async function api(path, parameters) {
  const url = `${input.prometheus}/api/v1/${path}`;
  const response = await fetch(url, { method: path.startsWith("label/") ? "GET" : "POST", body: path.startsWith("label/") ? undefined : new URLSearchParams(parameters) });
  const answer = await response.json();
  if (answer.status !== "success") throw new Error(`${path} ${parameters?.query}: ${answer.error}`);
  return answer.data;
}

const seconds = (value) => `${value}s`;
/// As Grafana computes them for a scrape interval.
const steps = (points) => {
  const interval = Math.max(Math.ceil(input.range / points), input.interval);
  return { interval, rate: Math.max(interval + input.interval, 4 * input.interval) };
};

/// A text with the values of variables in the place of their names; unknown names stay, as in Grafana.
function filled(text, variables) {
  return text.replace(/\$(?:{(\w+)(?::\w+)?}|(\w+))/g, (whole, braced, plain) => variables[braced ?? plain] ?? whole);
}

const escaped = (value) => value.replace(/[\\^$*+?.()|[\]{}]/g, "\\\\$&");

async function values({ query, regex }, variables) {
  const expanded = filled(query, variables);
  const labelled = expanded.match(/^label_values\((.*), (\w+)\)$/);
  if (labelled) {
    const [, selector, label] = labelled;
    const parameters = new URLSearchParams({ "match[]": selector, start: range.from, end: range.to });
    return api(`label/${label}/values?${parameters}`);
  }
  const [, expr] = expanded.match(/^query_result\((.*)\)$/);
  const { result } = await api("query", { query: expr, time: range.to });
  const [, pattern] = regex.match(/^\/(.*)\/$/);
  const texts = result.map(({ metric, value }) => `{${Object.entries(metric).map(([key, text]) => `${key}="${text}"`).join(",")}} ${value[1]}`);
  return [...new Set(texts.flatMap((text) => text.match(pattern)?.[1] ?? []))].sort();
}

async function variables(board, chosen) {
  const { interval, rate } = steps(POINTS);
  const known = { __range: seconds(input.range), __interval: seconds(interval), __rate_interval: seconds(rate) };
  const shown = [];
  for (const variable of board.templating.list.filter(({ type }) => type === "query")) {
    const all = await values(variable, known);
    const { name, includeAll, allValue, label } = variable;
    const one = chosen[name] ?? (includeAll ? undefined : all[0]);
    known[name] = one === undefined ? (allValue ?? (all.length > 1 ? `(${all.map(escaped).join("|")})` : (all[0] ?? ""))) : escaped(one);
    shown.push(`${label}: ${one ?? (includeAll ? "All" : "none")}`);
  }
  return { known, shown: shown.join("   ") };
}

async function answer(panel, target, known) {
  const { interval, rate } = steps(panel.maxDataPoints ?? POINTS);
  const query = filled(target.expr, { ...known, __interval: seconds(interval), __rate_interval: seconds(rate) });
  const { result } = target.instant
    ? await api("query", { query, time: range.to })
    : await api("query_range", { query, start: range.from, end: range.to, step: interval });
  return { target, result, step: interval };
}

/// When each alert of the dashboard's marks began.
async function marks({ annotations }, known) {
  const starts = new Set();
  for (const { expr } of annotations.list) {
    const { result } = await api("query_range", { query: filled(expr, known), start: range.from, end: range.to, step: input.interval });
    result.filter(({ values }) => values[0][0] > range.from).forEach(({ values }) => starts.add(values[0][0]));
  }
  return [...starts];
}

/// What a closed row holds takes no room on the board, so what is below moves down.
const open = (panels) => {
  let shift = 0;
  const moved = (panel) => ({ ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } });
  return panels.flatMap((panel) => {
    const all = [moved(panel), ...(panel.type === "row" && panel.collapsed ? panel.panels.map(moved) : [])];
    const bottom = Math.max(...all.map(({ gridPos }) => gridPos.y + gridPos.h));
    shift += bottom - all[0].gridPos.y - all[0].gridPos.h;
    return all;
  });
};

const page_of_ours = await esbuild.build({
  entryPoints: [join(dirname(fileURLToPath(import.meta.url)), "page.jsx")],
  bundle: true,
  write: false,
  outdir: "out",
  nodePaths: [join(tools, "node_modules")],
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"', global: "window" },
  loader: { ".woff": "dataurl", ".woff2": "dataurl", ".svg": "dataurl" },
  external: ["monaco-editor", "@monaco-editor/react"],
  logLevel: "error",
});
const bundle = (extension) => page_of_ours.outputFiles.find(({ path }) => path.endsWith(extension)).text;

const ORIGIN = "http://dashboards.invalid/";
const browser = await chromium.launch({ executablePath: input.browser, args: ["--no-sandbox", "--force-color-profile=srgb"] });
const page = await browser.newPage({ viewport: { width: WIDTH, height: HEIGHT } });
const errors = [];
page.on("pageerror", (error) => errors.push(String(error.stack ?? error)));
const served = {
  "": ["text/html", '<!doctype html><html><head><link rel="stylesheet" href="page.css"></head><style>.sr-only{position:absolute;width:1px;height:1px;overflow:hidden;clip:rect(0,0,0,0)}</style><body style="margin:0"><div id="root"></div><script src="page.js"></script></body></html>'],
  "page.js": ["text/javascript", bundle(".js")],
  "page.css": ["text/css", bundle(".css")],
};
await page.route("**/*", (route) => {
  // Icons are files of Grafana's server.
  const [contentType, body] = served[route.request().url().replace(ORIGIN, "")] ?? ["image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg"/>'];
  return route.fulfill({ contentType, body });
});
await page.goto(ORIGIN);

const report = {};
for (const { name, board, chosen } of input.boards) {
  const { known, shown } = await variables(board, chosen ?? {});
  const panels = open(board.panels);
  const asked = panels.filter(({ type }) => type !== "row").map(async (panel) => [panel.id, await Promise.all(panel.targets.map((target) => answer(panel, target, known)))]);
  const answers = Object.fromEntries(await Promise.all(asked));
  const drawn = { ...board, panels, chosen: shown, marks: await marks(board, known), markColor: board.annotations.list[0]?.iconColor };
  report[name] = await page.evaluate((input) => window.draw(input), { board: drawn, answers, width: WIDTH, range });
  if (errors.length > 0) throw new Error(`${name}: ${errors.join("\n")}`);
  if (input.pictures) {
    mkdirSync(input.pictures, { recursive: true });
    const shot = UPNG.decode(await page.locator("#root").screenshot());
    const small = UPNG.encode(UPNG.toRGBA8(shot), shot.width, shot.height, COLOURS);
    writeFileSync(join(input.pictures, `${name}.png`), Buffer.from(small));
  }
}
await browser.close();
process.stdout.write(JSON.stringify(report));
