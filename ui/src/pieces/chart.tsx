// A chart, and the same numbers for those who do not see it.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Line } from "../lazy/plot";

export function Chart({ label, times, lines, unit, bars }: { label: string; times: number[]; lines: Line[]; unit: (value: number) => string; bars?: boolean }) {
  const host = useRef<HTMLDivElement>(null);
  const [scheme, again] = useState(0);
  const key = JSON.stringify([times, lines]);
  useEffect(() => {
    const heard = () => again((n) => n + 1);
    addEventListener("fireclay-scheme", heard);
    return () => removeEventListener("fireclay-scheme", heard);
  }, []);
  useEffect(() => {
    let gone = false;
    let end = () => {};
    import("../lazy/plot").then(({ draw }) => {
      if (gone || !host.current) return;
      const own = host.current;
      const plot = draw(own, times, lines, { unit, bars });
      const watch = new ResizeObserver(() => plot.setSize({ width: own.clientWidth, height: own.clientHeight }));
      watch.observe(own);
      end = () => { watch.disconnect(); plot.destroy(); };
    }).catch(() => {});
    return () => { gone = true; end(); };
  }, [key, scheme]);
  const spoken = lines.map((line) => `${line.label}: ${unit(bars ? line.values.reduce<number>((sum, one) => sum + (one ?? 0), 0) : Math.max(0, ...line.values.map((one) => one ?? 0)))}`).join(", ");
  return <div class="chart" ref={host} role="img" aria-label={`${label}. ${bars ? "In all" : "At most"}: ${spoken}`} />;
}
