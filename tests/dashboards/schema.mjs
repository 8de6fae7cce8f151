// Validates dashboards against JSON Schemas made out of Grafana's own types, with no key allowed that they lack.
//
//     node schema.mjs TOOLS < {"NAME": DASHBOARD, ...} > {"NAME": ["what is wrong", ...], ...}
//
// TOOLS is the folder with node_modules.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const tools = process.argv[2];
const require = createRequire(join(tools, "tools.js"));
const { createGenerator } = require("ts-json-schema-generator");
const Ajv = require("ajv").default;

const types = join(tools, "node_modules/@grafana/schema/dist/types/raw");
const ajv = new Ajv({ strict: false, allErrors: true });

function validator(file, type) {
  const schema = createGenerator({
    path: join(types, file),
    type,
    skipTypeCheck: true,
    additionalProperties: false,
    topRef: true,
  }).createSchema(type);
  return ajv.compile(schema);
}

const dashboard = validator("dashboard/x/types.gen.d.ts", "Dashboard");
// The types leave what a field can be overridden with open; it is the same as its defaults.
const field = validator("dashboard/x/types.gen.d.ts", "FieldConfig");
// And so they do with what each kind of panel adds. A stat has no options of fields.
const nothing = ajv.compile({ type: "object", additionalProperties: false });
const panelcfg = (kind) => `composable/${kind}/panelcfg/x/types.gen.d.ts`;
const kinds = {
  stat: [validator(panelcfg("stat"), "Options"), nothing],
  ...Object.fromEntries(
    [["state-timeline", "statetimeline"], ["timeseries", "timeseries"], ["table", "table"]].map(([kind, folder]) => [
      kind,
      [validator(panelcfg(folder), "Options"), validator(panelcfg(folder), "FieldConfig")],
    ]),
  ),
};

// An annotation's query is that of its data source, which the types leave out.
const ofPrometheus = ["expr", "step", "titleFormat", "textFormat", "tagKeys"];

function check({ annotations, ...others }) {
  const list = (annotations?.list ?? []).map((annotation) => {
    const known = Object.entries(annotation).filter(([key]) => !ofPrometheus.includes(key));
    return Object.fromEntries(known);
  });
  const json = { ...others, annotations: { list } };
  const wrong = [];
  const ask = (validate, value, place) => {
    if (!validate(value)) {
      wrong.push(...validate.errors.map((error) => `${place}${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`));
    }
  };
  ask(dashboard, json, "");
  const panels = (json.panels ?? []).flatMap((item) => (item.type === "row" ? (item.panels ?? []) : [item]));
  for (const panel of panels) {
    const place = `panel ${panel.id}: `;
    if (!(panel.type in kinds)) {
      wrong.push(`${place}${panel.type} is no kind of panel that is known here`);
      continue;
    }
    const [options, custom] = kinds[panel.type];
    const defaults = panel.fieldConfig?.defaults ?? {};
    ask(options, panel.options, `${place}options`);
    ask(custom, defaults.custom, `${place}custom`);
    for (const { properties } of panel.fieldConfig?.overrides ?? []) {
      for (const { id, value } of properties) {
        const own = id.match(/^custom\.(.+)$/);
        if (own) {
          ask(custom, { ...defaults.custom, [own[1]]: value }, `${place}override ${id}`);
        } else {
          ask(field, { [id]: value }, `${place}override ${id}`);
        }
      }
    }
  }
  return wrong;
}

const dashboards = JSON.parse(readFileSync(0, "utf8"));
const answers = Object.entries(dashboards).map(([name, json]) => [name, check(json)]);
process.stdout.write(JSON.stringify(Object.fromEntries(answers)));
