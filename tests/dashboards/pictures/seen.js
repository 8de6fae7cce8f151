// What a person sees of a panel: its words, their colours, and what is cut off.

import { getFieldDisplayName } from "@grafana/data";

const text = (element) => element.innerText.trim().replace(/\s+/g, " ");

const hex = (color) => {
  const [red, green, blue] = color.match(/\d+(\.\d+)?/g) ?? [];
  return red === undefined ? color : `#${[red, green, blue].map((part) => Number(part).toString(16).padStart(2, "0")).join("")}`.toUpperCase();
};

/// Texts that do not fit: wider than what clips them, or outside of their tile.
function cutOff(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.data.trim() === "" || node.parentElement.closest(".sr-only, [aria-hidden='true'], style, svg")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width === 0) continue;
    for (let parent = node.parentElement; parent !== element.parentElement; parent = parent.parentElement) {
      const tile = parent.hasAttribute("data-tile") ? parent.firstElementChild : undefined;
      const style = getComputedStyle(parent);
      const clips = (overflow) => overflow === "hidden" || overflow === "clip";
      const clip = (tile ?? parent).getBoundingClientRect();
      const wide = (tile || clips(style.overflowX)) && (box.right > clip.right + 1 || box.left < clip.left - 1);
      const high = (tile || clips(style.overflowY)) && (box.bottom > clip.bottom + 2 || box.top < clip.top - 2);
      if (clip.width > 1 && (wide || high)) {
        found.push(node.data.trim());
        break;
      }
      // What can be scrolled to is not cut off.
      if (style.overflowY === "auto" || style.overflowY === "scroll") break;
    }
  }
  return found;
}

/// Links of series that name a label which their series lacks.
function deadLinks({ data }) {
  const dead = new Set();
  for (const frame of data) {
    for (const field of frame.fields) {
      for (const { url } of field.config.links ?? []) {
        for (const [, label] of url.matchAll(/\${__field\.labels\.(\w+)/g)) {
          if (field.labels && !(label in field.labels)) dead.add(`${label} of ${getFieldDisplayName(field, frame, data)}`);
        }
        for (const [, name] of url.matchAll(/\${__data\.fields\.(\w+)/g)) {
          if (!frame.fields.some((other) => other.name === name)) dead.add(`column ${name}`);
        }
      }
    }
  }
  return [...dead];
}

const all = (element, selector) => [...element.querySelectorAll(selector)];

export function seen(panel, drawn) {
  const element = document.querySelector(`[data-panel="${panel.id}"]`);
  const tile = (tile) => {
    const box = tile.firstElementChild;
    const [name, value] = [...box.firstElementChild.children].map(text);
    const background = getComputedStyle(box).backgroundColor;
    const words = all(tile, "span").at(-1);
    return { name: value === undefined ? "" : name, value: value ?? name, color: hex(background === "rgba(0, 0, 0, 0)" && words ? getComputedStyle(words).color : background) };
  };
  const cells = (row) => all(row, "[role='gridcell'], td").map(text);
  return {
    id: panel.id,
    kind: panel.type,
    title: panel.title,
    nothing: element.querySelector("[data-nothing]") ? text(element.querySelector("[data-nothing]")) : null,
    cutOff: cutOff(element),
    deadLinks: deadLinks(drawn),
    tiles: all(element, "[data-tile]").map(tile),
    lanes: all(element, "[data-lane]").map((lane) => ({
      name: text(lane.querySelector("[data-name]")),
      spans: all(lane, "[data-span]").map((span) => ({ text: span.dataset.span, color: hex(getComputedStyle(span).backgroundColor) })),
    })),
    // Name, then figures; the first cell is the line's colour.
    legend: panel.type === "timeseries" ? all(element, "tbody tr").map((row) => cells(row).slice(1)) : [],
    columns: all(element, "[role='columnheader']").map(text),
    rows: all(element, "[role='row']").map(cells).filter((row) => row.length > 0),
  };
}
