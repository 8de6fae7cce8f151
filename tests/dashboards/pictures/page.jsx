// The page on which dashboards are drawn, and what can be seen on it.

import { createTheme, dateTime, EventBusSrv, ThemeContext } from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { GlobalStyles, PanelChrome, PanelContextProvider } from "@grafana/ui";
import { createRoot } from "react-dom/client";
import { flushSync } from "react-dom";
import "@fontsource/inter/latin-400.css";
import "@fontsource/inter/latin-500.css";

import { frames } from "./data.js";
import { KINDS } from "./panels.jsx";
import { seen } from "./seen.js";

const theme = createTheme({ colors: { mode: "dark" } });
const GRID = { row: 30, gap: 8 };

/// Where a panel stands, in pixels.
function place({ x, y, w, h }, width) {
  const column = (width - GRID.gap * 23) / 24;
  return {
    left: x * (column + GRID.gap),
    top: y * (GRID.row + GRID.gap),
    width: w * column + (w - 1) * GRID.gap,
    height: h * GRID.row + (h - 1) * GRID.gap,
  };
}

function Panel({ panel, drawn, at, timeRange, marks, markColor }) {
  const Kind = KINDS[panel.type];
  return (
    <div data-panel={panel.id} style={{ position: "absolute", ...at }}>
      <PanelChrome title={panel.title} width={at.width} height={at.height} description={panel.description} padding="md">
        {(width, height) => (
          <Kind panel={panel} {...drawn} width={width} height={height} theme={theme} timeRange={timeRange} marks={marks} markColor={markColor} />
        )}
      </PanelChrome>
    </div>
  );
}

function Board({ board, drawn, width, range }) {
  const timeRange = { from: dateTime(range.from * 1000), to: dateTime(range.to * 1000), raw: { from: "", to: "" } };
  const bottom = Math.max(...board.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const marks = board.marks.map((at) => at * 1000);
  return (
    <div style={{ width, padding: 12, boxSizing: "border-box", background: theme.colors.background.canvas, color: theme.colors.text.primary, fontFamily: theme.typography.fontFamily, fontSize: 14 }}>
      <div data-board style={{ fontSize: 16, paddingBottom: 10 }}>
        {board.title} <span style={{ color: theme.colors.text.secondary, fontSize: 13, paddingLeft: 16 }}>{board.chosen}</span>
      </div>
      <div style={{ position: "relative", height: bottom * (GRID.row + GRID.gap) }}>
        {board.panels.map((panel) =>
          panel.type === "row" ? (
            <div key={panel.id} style={{ position: "absolute", ...place(panel.gridPos, width - 24), fontWeight: 500, paddingTop: 6 }}>
              {panel.title}
            </div>
          ) : (
            <Panel key={panel.id} panel={panel} drawn={drawn.get(panel.id)} at={place(panel.gridPos, width - 24)} timeRange={timeRange} marks={marks} markColor={board.markColor} />
          ),
        )}
      </div>
    </div>
  );
}

const root = createRoot(document.getElementById("root"));
const context = { eventsScope: "board", eventBus: new EventBusSrv() };

/// Draws a board; returns what can be seen on it. Errors of components are thrown by the page.
window.draw = async ({ board, answers, width, range }) => {
  await initPluginTranslations("grafana-ui");
  const drawn = new Map();
  for (const panel of board.panels.filter(({ type }) => type !== "row")) {
    const own = answers[panel.id];
    drawn.set(panel.id, { ...(await frames(panel, own, theme)), step: Math.max(...own.map(({ step }) => step)) });
  }
  flushSync(() =>
    root.render(
      <ThemeContext.Provider value={theme}>
        <PanelContextProvider value={context}>
          <GlobalStyles />
          <Board key={board.uid + range.to} board={board} drawn={drawn} width={width} range={range} />
        </PanelContextProvider>
      </ThemeContext.Provider>,
    ),
  );
  await document.fonts.ready;
  // Tables and charts measure themselves once they stand.
  for (let frame = 0; frame < 4; frame++) await new Promise(requestAnimationFrame);
  return board.panels.filter(({ type }) => type !== "row").map((panel) => seen(panel, drawn.get(panel.id)));
};
