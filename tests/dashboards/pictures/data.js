// From what Prometheus returns to fields as Grafana's panels get them: frames, transformations, field configuration.

import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  FieldConfigOptionsRegistry,
  FieldType,
  identityOverrideProcessor,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from "@grafana/data";
import { firstValueFrom } from "rxjs";

standardTransformersRegistry.setInit(() =>
  [standardTransformers.filterFieldsByNameTransformer, standardTransformers.organizeFieldsTransformer].map((transformer) => ({
    id: transformer.id,
    name: transformer.name,
    transformation: () => Promise.resolve(transformer),
  })),
);

/// What Grafana gives a panel that has no thresholds.
const DEFAULT_THRESHOLDS = {
  mode: "absolute",
  steps: [
    { value: -Infinity, color: "green" },
    { value: 80, color: "red" },
  ],
};

const number = (text) => (text === "NaN" ? NaN : Number(text));

/// The name of a series: the legend with its labels, or all of them.
function seriesName(legend, labels) {
  const name = legend.replace(/{{\s*(.+?)\s*}}/g, (_, label) => labels[label] ?? "");
  const all = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  return name === "" ? `{${all.join(", ")}}` : name;
}

function series({ target, result, step }) {
  return result.map(({ metric, values, value }) => {
    const samples = values ?? [value];
    const config = { displayNameFromDS: seriesName(target.legendFormat, metric) };
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: "Time", type: FieldType.time, values: samples.map(([at]) => at * 1000), config: { interval: step * 1000 } },
        { name: "Value", type: FieldType.number, values: samples.map(([, text]) => number(text)), labels: metric, config },
      ],
    });
  });
}

/// One frame with a column for each label, as for a target in the format "table".
function table({ target, result }) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const column = (name) => ({ name, type: FieldType.string, values: result.map(({ metric }) => metric[name] ?? ""), config: {} });
  const fields = [
    { name: "Time", type: FieldType.time, values: result.map(({ value }) => value[0] * 1000), config: {} },
    ...labels.map(column),
    { name: "Value", type: FieldType.number, values: result.map(({ value }) => number(value[1])), config: {} },
  ];
  return result.length === 0 ? [] : [toDataFrame({ refId: target.refId, fields })];
}

/// Every property that a panel sets for its fields.
function registry({ defaults, overrides }) {
  const custom = Object.keys(defaults.custom ?? {}).map((key) => `custom.${key}`);
  const own = overrides.flatMap(({ properties }) => properties.map(({ id }) => id));
  const ids = new Set([...Object.keys(defaults).filter((key) => key !== "custom"), ...custom, ...own]);
  const item = (id) => ({
    id,
    path: id.replace(/^custom\./, ""),
    name: id,
    isCustom: id.startsWith("custom."),
    process: identityOverrideProcessor,
    shouldApply: () => true,
  });
  const registry = new FieldConfigOptionsRegistry();
  [...ids].map(item).forEach((one) => registry.register(one));
  return registry;
}

const loaded = (thresholds) => ({
  ...thresholds,
  steps: thresholds.steps.map((step) => ({ ...step, value: step.value ?? -Infinity })),
});

/// Field configuration as Grafana has it after loading a dashboard.
function configured({ defaults, overrides }) {
  const property = ({ id, value }) => ({ id, value: id === "thresholds" ? loaded(value) : value });
  return {
    defaults: { ...defaults, thresholds: defaults.thresholds ? loaded(defaults.thresholds) : DEFAULT_THRESHOLDS },
    overrides: overrides.map(({ matcher, properties }) => ({ matcher, properties: properties.map(property) })),
  };
}

/// The frames of a panel, ready to be drawn.
export async function frames(panel, answers, theme) {
  const raw = answers.flatMap((answer) => (answer.target.format === "table" ? table(answer) : series(answer)));
  const context = { interpolate: (text) => text };
  const changed = await firstValueFrom(transformDataFrame(panel.transformations ?? [], raw, context));
  const fieldConfig = configured(panel.fieldConfig);
  const data = applyFieldOverrides({
    data: changed,
    fieldConfig,
    fieldConfigRegistry: registry(fieldConfig),
    replaceVariables: (text) => text,
    theme,
    timeZone: "utc",
  });
  cacheFieldDisplayNames(data);
  return { data, fieldConfig };
}
