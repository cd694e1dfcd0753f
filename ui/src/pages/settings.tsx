// What the service was told, and what it would be without.
import { useState } from "preact/hooks";
import { get, type Limits } from "../api";
import { bytes, ms } from "../words";
import { Card, Empty, Head, Pairs, reach, Show, useLoad } from "../pieces/basic";

interface Setting { name: string; variable: string; value: unknown; default: string; doc: string }

export function Settings() {
  const settings = useLoad((signal) => get<{ items: Setting[] }>("/v1/settings", signal), []);
  const limits = useLoad((signal) => get<{ limits: Limits; ceiling: Limits }>("/v1/limits", signal), []);
  const [words, find] = useState("");
  const spelled = (of: Limits) => [["Time", ms(of.timeout_ms)], ["Memory", bytes(of.memory_bytes)], ["Processors", String(of.cpus)], ["Processes", String(of.processes)], ["Disk", bytes(of.disk_bytes)], ["Output", bytes(of.output_bytes)]] as const;
  return (
    <>
      <Head title="Settings" note="As the service was started. They are changed in its file or environment, and take hold at its next start." />
      <div class="stack">
        {limits.data && <div class="two"><Card title="Limits when nothing is said"><Pairs of={[...spelled(limits.data.limits)]} /></Card><Card title="Most that can be asked for"><Pairs of={[...spelled(limits.data.ceiling)]} /></Card></div>}
        <Show of={settings} lines={10}>{({ items }) => {
          const found = items.filter((one) => `${one.name} ${one.doc} ${one.variable}`.toLowerCase().includes(words.toLowerCase()));
          return <section class="card" aria-label="Settings"><div class="filters"><input type="search" aria-label="Search settings" placeholder="Search settings" value={words} onInput={(event) => find(event.currentTarget.value)} /></div>
            {found.length === 0 ? <Empty title="No setting is called that" /> : <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Setting</th><th scope="col">Value</th><th scope="col" class="wide">What it does</th></tr></thead><tbody>{found.map((one) => { const value = JSON.stringify(one.value) ?? "–"; return <tr key={one.name}><td class="mono">{one.name}<div class="faint small">{one.variable}</div></td><td class="mono">{value}{value !== one.default && <div class="small soft">default {one.default}</div>}</td><td class="wide soft">{one.doc}</td></tr>; })}</tbody></table></div>}</section>;
        }}</Show>
      </div>
    </>
  );
}
