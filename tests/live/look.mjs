// Looks at the page of an exporter in a headless browser.
//
//     node look.mjs TOOLS < {"browser": PROGRAM, "url": URL, "script": BOOLEAN, "steps": [STEP, ...]}
//     > {"reports": {NAME: {"tiles": [...], "aria": TEXT, ...}, ...}, "console": [TEXT, ...], "requests": [URL, ...]}
//
// A step is one of {"rename": [FROM, TO]}, {"wait": SELECTOR}, {"size": [WIDTH, HEIGHT]}, {"scheme": "dark" or "light"},
// {"press": KEY}, {"kill": PROCESS}, {"report": NAME} and {"picture": FILE}. TOOLS is the folder with node_modules.

import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "tools.js"));
const { chromium } = require("playwright-core");
const UPNG = require("upng-js");

/// Few enough colours for small files, many enough for smooth text.
const COLOURS = 32;
/// A page polls every two seconds, and a fault shows within a few rounds of the exporter.
const PATIENCE = 60_000;

const input = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath: input.browser, args: ["--no-sandbox", "--force-color-profile=srgb"] });
const context = await browser.newContext({ javaScriptEnabled: input.script, viewport: { width: 1440, height: 900 } });
const page = await context.newPage();
page.setDefaultTimeout(PATIENCE);
const [lines, requests] = [[], []];
page.on("console", (message) => lines.push(`${message.type()}: ${message.text()}`));
page.on("pageerror", (error) => lines.push(`error: ${error}`));
page.on("request", (request) => requests.push(request.url()));
await page.goto(input.url);

/// What a person sees: texts with the colours that the browser computed.
function seen() {
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    return backgroundColor === "rgba(0, 0, 0, 0)" && element.parentElement ? ground(element.parentElement) : backgroundColor;
  };
  const contrast = (element) => {
    const [low, high] = [luminance(getComputedStyle(element).color), luminance(ground(element))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const texts = [...document.body.querySelectorAll("*")]
    .filter((element) => [...element.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .filter((element) => element.checkVisibility());
  const badge = (element) => ({ word: element.textContent, color: getComputedStyle(element).backgroundColor });
  const tile = (element) => ({
    name: element.querySelector("h2").textContent,
    ...badge(element.querySelector(".state")),
    border: getComputedStyle(element).borderLeftColor,
    text: element.innerText,
    sparks: element.querySelectorAll(".spark").length,
    open: element.querySelector("details")?.open ?? false,
  });
  return {
    tiles: [...document.querySelectorAll(".tile")].map(tile),
    badges: [...document.querySelectorAll("table .state")].map(badge),
    summary: document.getElementById("summary").textContent,
    focus: document.activeElement?.textContent ?? "",
    stale: document.body.classList.contains("stale"),
    // What no part may show outside of itself.
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    cut_off: [...document.querySelectorAll(".tile *")].filter((element) => element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0 && getComputedStyle(element).display !== "inline").map((element) => element.textContent),
    faint: texts.filter((element) => contrast(element) < 4.5).map((element) => `${contrast(element).toFixed(2)} ${element.textContent}`),
    columns: new Set([...document.querySelectorAll(".tile")].map((element) => element.getBoundingClientRect().left)).size,
  };
}

const reports = {};
for (const step of input.steps) {
  const [[what, value]] = Object.entries(step);
  if (what === "rename") renameSync(...value);
  else if (what === "wait") await page.waitForSelector(value);
  else if (what === "size") await page.setViewportSize({ width: value[0], height: value[1] });
  else if (what === "scheme") await page.emulateMedia({ colorScheme: value });
  else if (what === "press") await page.keyboard.press(value);
  else if (what === "kill") process.kill(value, "SIGKILL");
  else if (what === "report") reports[value] = { ...(await page.evaluate(seen)), aria: await page.locator("body").ariaSnapshot() };
  else if (what === "picture") {
    const shot = UPNG.decode(await page.screenshot());
    writeFileSync(value, Buffer.from(UPNG.encode(UPNG.toRGBA8(shot), shot.width, shot.height, COLOURS)));
  } else throw new Error(`no step is called ${what}`);
}
await browser.close();
process.stdout.write(JSON.stringify({ reports, console: lines, requests: [...new Set(requests)] }));
