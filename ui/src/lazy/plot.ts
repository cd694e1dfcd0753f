// uPlot, fetched when there is something to draw.
import uPlot from "uplot";

export interface Line { label: string; colour: string; values: (number | null)[]; stacked?: boolean }

/** A time of day; over more than a day, a date. */
function moment(seconds: number, times: number[]): string {
  const date = new Date(seconds * 1000);
  const long = (times[times.length - 1] ?? 0) - (times[0] ?? 0) > 100_000;
  return long ? date.toLocaleDateString("en-GB", { day: "numeric", month: "short" }) : date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** Draws lines, or bars that stand on each other, over time. The colours are taken from the page as they are now. */
export function draw(host: HTMLElement, times: number[], lines: Line[], options: { unit: (value: number) => string; bars?: boolean }): uPlot {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const stacked = lines.map((line) => [...line.values]);
  if (options.bars) for (let at = lines.length - 2; at >= 0; at -= 1) stacked[at] = stacked[at]!.map((value, n) => (value ?? 0) + (stacked[at + 1]![n] ?? 0));
  const step = times.length > 1 ? times[1]! - times[0]! : 60;
  const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const bars = uPlot.paths.bars!({ size: [0.7, 18], radius: 0.15 });
  return new uPlot({
    width: Math.max(host.clientWidth, 120), height: host.clientHeight,
    legend: { show: false }, cursor: { show: false }, padding: [8, 8, 0, 0],
    scales: { x: { time: true, range: (_plot, low, high) => (options.bars ? [low - step / 2, high + step / 2] : [low, high]) }, y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1, options.bars ? 4 : 1)] } },
    axes: [{ ...axis, grid: { show: false }, space: 72, size: 28, values: (_plot, marks) => marks.map((mark) => moment(mark, times)) }, { ...axis, size: 56, values: (_plot, marks) => marks.map(options.unit), space: 36 }],
    series: [{}, ...lines.map((line) => ({ label: line.label, stroke: colour(line.colour), width: options.bars ? 0 : 1.5, fill: options.bars ? colour(line.colour) : undefined, points: { show: !options.bars && line.values.filter((one) => one !== null).length < 4, size: 5, fill: colour(line.colour) }, spanGaps: true, ...(options.bars ? { paths: bars } : {}) }))],
  }, [times, ...stacked] as uPlot.AlignedData, host);
}
