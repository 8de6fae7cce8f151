// Panels drawn with Grafana's own components, on Grafana's own fields. Its state timeline is no part of a package: ours
// draws lanes out of the same fields.

import { FieldType, getDisplayValueAlignmentFactors, getFieldDisplayName, getFieldDisplayValues } from "@grafana/data";
import { BigValue, TimeSeries, VizLegend, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import { useLayoutEffect } from "react";

const isEmpty = (data) => data.every((frame) => frame.length === 0 || frame.fields.length === 0);

function Nothing({ panel }) {
  return <div data-nothing style={{ textAlign: "center", paddingTop: 16 }}>{panel.fieldConfig.defaults.noValue ?? "No data"}</div>;
}

function Stat({ panel, data, fieldConfig, width, height, theme, timeRange }) {
  const { options } = panel;
  const values = () =>
    getFieldDisplayValues({
      fieldConfig,
      reduceOptions: options.reduceOptions,
      replaceVariables: (text) => text,
      theme,
      data,
      timeZone: "utc",
    });
  const tile = ({ value, alignmentFactors, width, height, count }) => (
    <div data-tile>
      <BigValue
        value={value.display}
        count={count}
        colorMode={options.colorMode}
        graphMode={options.graphMode}
        justifyMode={options.justifyMode}
        textMode={options.textMode}
        alignmentFactors={alignmentFactors}
        text={options.text}
        width={width}
        height={height}
        theme={theme}
        disableWideLayout={!options.wideLayout}
      />
    </div>
  );
  return (
    <VizRepeater
      getValues={values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={tile}
      width={width}
      height={height}
      source={timeRange}
      itemSpacing={3}
      renderCounter={1}
      autoGrid
      orientation={options.orientation}
    />
  );
}

/// Marks of alerts: a dashed line where each begins.
function Marks({ config, marks, color }) {
  useLayoutEffect(() => {
    config.addHook("draw", (u) => {
      const { ctx, bbox } = u;
      ctx.save();
      ctx.strokeStyle = color;
      ctx.setLineDash([6, 4]);
      for (const at of marks) {
        const x = Math.round(u.valToPos(at, "x", true));
        if (x >= bbox.left && x <= bbox.left + bbox.width) {
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
        }
      }
      ctx.restore();
    });
  }, [config]);
  return null;
}

function Lines({ panel, data, width, height, theme, timeRange, marks, markColor }) {
  if (isEmpty(data)) return <Nothing panel={panel} />;
  return (
    <TimeSeries
      frames={data}
      structureRev={1}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
      theme={theme}
    >
      {(config) => <Marks config={config} marks={marks} color={markColor} />}
    </TimeSeries>
  );
}

function Table({ panel, data, width, height, timeRange, fieldConfig }) {
  if (isEmpty(data)) return <Nothing panel={panel} />;
  return (
    <TableNG
      data={data[panel.options.frameIndex]}
      width={width}
      height={height}
      noHeader={!panel.options.showHeader}
      cellHeight={panel.options.cellHeight}
      structureRev={1}
      timeRange={timeRange}
      fieldConfig={fieldConfig}
      noValue={panel.fieldConfig.defaults.noValue}
      enableVirtualization={false}
      disableKeyboardEvents
    />
  );
}

/// The text of the threshold that a value lies in: what a timeline shows for a value whose field is coloured by them.
function byThreshold(field, value) {
  const { steps } = field.config.thresholds;
  const at = steps.findLastIndex((step) => value >= step.value);
  if (steps.length === 1) return "";
  return at === 0 ? `< ${steps[1].value}` : `${steps[at].value}+`;
}

/// What a lane shows from when to when: neighbours that look alike are one, and a missing sample is a gap.
function spans(frame, field, step, { from, to }) {
  const times = frame.fields.find(({ type }) => type === FieldType.time).values;
  const all = [];
  field.values.forEach((value, index) => {
    const { text, color } = field.display(value);
    const shown = field.config.color?.mode === "thresholds" ? byThreshold(field, value) : text;
    const [start, end] = [times[index], Math.min(times[index] + step * 1000, to)];
    const last = all.at(-1);
    if (last && last.text === shown && start <= last.end + 1) last.end = end;
    else all.push({ text: shown, color, start: Math.max(start, from), end });
  });
  return all;
}

const NAME_WIDTH = 210;
const LEGEND_HEIGHT = 24;

function Timeline({ panel, data, width, height, step, timeRange, theme }) {
  if (isEmpty(data)) return <Nothing panel={panel} />;
  const [from, to] = [timeRange.from.valueOf(), timeRange.to.valueOf()];
  const lanes = data.flatMap((frame) =>
    frame.fields
      .filter(({ type }) => type !== FieldType.time)
      .map((field) => ({ name: getFieldDisplayName(field, frame, data), spans: spans(frame, field, step, { from, to }) })),
  );
  const states = new Map(lanes.flatMap((lane) => lane.spans.map(({ text, color }) => [text, color])));
  const items = [...states].map(([label, color]) => ({ label, color, yAxis: 1 }));
  const lane = (height - LEGEND_HEIGHT) / lanes.length;
  const scale = (width - NAME_WIDTH) / (to - from);
  const bar = lane * panel.options.rowHeight;
  return (
    <div>
      {lanes.map(({ name, spans }, index) => (
        <div key={index} data-lane style={{ position: "relative", height: lane, overflow: "hidden" }}>
          <div data-name style={{ width: NAME_WIDTH - 8, overflow: "hidden", whiteSpace: "nowrap", fontSize: Math.min(12, bar), lineHeight: `${lane}px`, textAlign: "right" }}>
            {name}
          </div>
          {spans.map(({ text, color, start, end }, at) => (
            <div
              key={at}
              data-span={text}
              style={{ position: "absolute", left: NAME_WIDTH + (start - from) * scale, width: Math.max((end - start) * scale, 1), top: (lane - bar) / 2, height: bar, background: color, overflow: "hidden" }}
            >
              {(end - start) * scale > 9 * text.length && bar > 10 ? <span style={{ fontSize: Math.min(12, bar - 1), lineHeight: `${bar}px`, paddingLeft: 4, color: theme.colors.getContrastText(color), display: "block" }}>{text}</span> : null}
            </div>
          ))}
        </div>
      ))}
      <VizLegend items={items} displayMode="list" placement="bottom" />
    </div>
  );
}

export const KINDS = { stat: Stat, timeseries: Lines, table: Table, "state-timeline": Timeline };
