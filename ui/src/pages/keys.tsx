// Who may call: keys, a new one, and an end for one.
import { useState } from "preact/hooks";
import { get, query, send, type Page, type Problem } from "../api";
import { ago, clock } from "../words";
import { Copy, Dialog, Empty, Field, Head, problemOf, reach, Show, Trouble, useLoad } from "../pieces/basic";
import type { Who } from "../shell";

interface Key { id: string; tenant: string; role: string; name: string; created_at: string; last_used_at?: string | null; expires_at?: string | null; revoked_at?: string | null }

export function Keys({ who }: { who: Who }) {
  const keys = useLoad((signal) => get<Page<Key>>(`/v1/keys${query({ limit: 200 })}`, signal), []);
  const [making, make] = useState(false);
  const [problem, tell] = useState<Problem | null>(null);
  const admin = who.role === "admin";
  const revoke = async (key: Key) => {
    if (!confirm(`Revoke the key ${key.name || key.id}? Whoever uses it is refused at once, and its logins end.`)) return;
    try { await send("DELETE", `/v1/keys/${key.id}`); tell(null); keys.reload(); } catch (error) { tell(problemOf(error)); }
  };
  return (
    <>
      <Head title="Keys" note="A key says who calls and what they may do. Only a digest of it is kept.">{admin && <button class="primary" onClick={() => make(true)}>New key</button>}</Head>
      <div class="stack">
        {problem && <Trouble problem={problem} />}
        <Show of={keys}>{({ items }) => <section class="card" aria-label="Keys">{items.length === 0 ? <Empty title="There is no key" actions={admin && <button onClick={() => make(true)}>New key</button>}>Whoever is on this machine may do everything. From the first key on, nobody is answered without one.</Empty>
          : <div class="scroll" ref={reach}><table class="list"><thead><tr><th scope="col">Key</th><th scope="col">Tenant</th><th scope="col">Role</th><th scope="col" class="wide">Made</th><th scope="col" class="wide">Used</th><th scope="col">State</th><th scope="col"><span class="hidden-text">Acts</span></th></tr></thead><tbody>{items.map((key) => (
            <tr key={key.id}><td>{key.name || <span class="soft">no name</span>}<div class="mono small soft">{key.id}{key.id === who.key && " (yours)"}</div></td><td>{key.tenant}</td><td>{key.role}</td><td class="wide soft">{clock(key.created_at)}</td><td class="wide soft">{key.last_used_at ? ago(key.last_used_at) : "never"}</td>
              <td>{key.revoked_at ? <span class="badge">revoked</span> : key.expires_at && Date.parse(key.expires_at) < Date.now() ? <span class="badge">expired</span> : <span class="badge good">works</span>}{key.expires_at && !key.revoked_at && <div class="small soft">until {clock(key.expires_at)}</div>}</td>
              <td class="num">{admin && !key.revoked_at && <button class="quiet small danger" aria-label={`Revoke ${key.name || key.id}`} onClick={() => revoke(key)}>Revoke</button>}</td></tr>))}</tbody></table></div>}</section>}</Show>
      </div>
      {making && <Make first={keys.data?.items.length === 0} close={() => { make(false); keys.reload(); }} />}
    </>
  );
}

function Make({ first, close }: { first: boolean; close: () => void }) {
  const [said, set] = useState({ name: "", tenant: "", role: first ? "admin" : "tenant", days: "" });
  const [made, keep] = useState<string | null>(null);
  const [problem, tell] = useState<Problem | null>(null);
  const make = async (event: Event) => {
    event.preventDefault();
    try {
      const key = await send<{ key: string }>("POST", "/v1/keys", { name: said.name, role: said.role, ...(said.tenant && { tenant: said.tenant }), ...(Number(said.days) > 0 && { expires_at: new Date(Date.now() + Number(said.days) * 86_400_000).toISOString() }) });
      keep(key.key);
    } catch (error) { tell(problemOf(error)); }
  };
  return (
    <Dialog label="New key" close={close}>{made ? (
      <div class="stack"><h2>The key</h2><p class="soft">It is shown this once. {first && "From now on nobody is answered without one: log in with it."}</p><div class="shown"><header><span>Key</span><Copy text={made} /></header><pre class="code wrap">{made}</pre></div><div class="row between"><span /><button class="primary" onClick={close}>I have kept it</button></div></div>
    ) : (
      <form class="stack" onSubmit={make}><h2>New key</h2>
        {first && <div class="note warn"><strong>The first key.</strong> From it on, nobody is answered without one, on this machine too.</div>}
        <div class="fields"><Field label="Name"><input value={said.name} placeholder="ci" onInput={(event) => set({ ...said, name: event.currentTarget.value })} /></Field><Field label="Role"><select value={said.role} onChange={(event) => set({ ...said, role: event.currentTarget.value })}><option value="tenant">tenant: its own things</option><option value="admin">admin: everything</option></select></Field><Field label="Tenant" hint="empty: yours"><input value={said.tenant} onInput={(event) => set({ ...said, tenant: event.currentTarget.value })} /></Field><Field label="Ends after, days" hint="empty: never"><input type="number" min="1" value={said.days} onInput={(event) => set({ ...said, days: event.currentTarget.value })} /></Field></div>
        {problem && <Trouble problem={problem} />}<div class="row between"><button type="button" onClick={close}>Cancel</button><button class="primary">Make</button></div></form>
    )}</Dialog>
  );
}
