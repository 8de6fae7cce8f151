// Paints values as Grafana paints them, and says which units it knows.
//
//     node colours.mjs TOOLS < [{"config": FIELD_CONFIG, "values": [0.5, null, "NaN"]}, ...]
//     > [{"shown": [{"color": "#C4162A", "text": "95%"}, ...], "unit": true}, ...]
//
// TOOLS is the folder with node_modules.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

// The package looks at the browser's language when it is loaded.
globalThis.navigator ??= { language: "en", languages: ["en"], userAgent: "" };
const require = createRequire(join(process.argv[2], "tools.js"));
const { createTheme, FieldType, getDisplayProcessor, getValueFormats } = require("@grafana/data");

const theme = createTheme();
const units = new Set(getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));

function paint({ config, values }) {
  const process = getDisplayProcessor({ field: { type: FieldType.number, config }, theme });
  const shown = values.map((value) => {
    const { color, text } = process(value === "NaN" ? NaN : value);
    return { color, text };
  });
  // Units of our own: a text behind the number, with or without a prefix of the SI.
  return { shown, unit: units.has(config.unit) || /^(si|suffix):\S/.test(config.unit) };
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(paint)));
