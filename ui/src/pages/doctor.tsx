// What of the isolation this machine can give, and how to mend what it cannot.
import { get } from "../api";
import { Card, Copy, Head, reach, Show, useLoad } from "../pieces/basic";

interface Check { id: string; group: string; title: string; have: string; need: string; ok: boolean; severity: string; consequence: string; fix: string | null }

export function Doctor() {
  const report = useLoad((signal) => get<{ level: string; verdict: string; checks: Check[] }>("/v1/doctor", signal), []);
  return (
    <>
      <Head title="Doctor" note="Every act that a sandbox needs, performed on this machine."><button onClick={report.reload} disabled={report.loading}>{report.loading ? "Examining" : "Examine again"}</button></Head>
      <Show of={report} lines={10}>{(told) => {
        const bad = told.checks.filter((one) => !one.ok);
        const groups = [...new Set(told.checks.map((one) => one.group))];
        return (
          <div class="stack">
            <div class="tiles"><div class="figure"><span>Verdict</span><b class={told.verdict === "ready" ? "good" : "warn"}>{told.verdict.replaceAll("_", " ")}</b></div><div class="figure"><span>Level</span><b>{told.level}</b></div><div class="figure"><span>Checks passed</span><b>{told.checks.length - bad.length} of {told.checks.length}</b></div></div>
            {bad.length > 0 && <Card title="To mend"><div class="stack">{bad.map((one) => <div key={one.id} class={one.severity === "required" ? "note bad" : "note warn"}><p><strong>{one.title}</strong> · {one.severity}</p><p>Found: {one.have}. Needed: {one.need}.</p><p class="soft">{one.consequence}</p>{one.fix && <div class="row"><code class="grow">{one.fix}</code><Copy text={one.fix} /></div>}</div>)}</div></Card>}
            {groups.map((group) => <Card key={group} title={group.charAt(0).toUpperCase() + group.slice(1)} flush><div class="scroll" ref={reach}><table class="list"><tbody>{told.checks.filter((one) => one.group === group).map((one) => <tr key={one.id}><th scope="row" class="nowrap" style={{ width: "30%" }}>{one.title}</th><td><span class={`badge ${one.ok ? "good" : one.severity === "required" ? "bad" : "warn"}`}>{one.ok ? "ok" : "missing"}</span></td><td class="soft">{one.have}</td></tr>)}</tbody></table></div></Card>)}
          </div>
        );
      }}</Show>
    </>
  );
}
