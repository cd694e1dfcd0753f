// Where somebody without a login gets one: a key is exchanged for a cookie that no script can read.
import { useState } from "preact/hooks";
import { send, type Problem } from "./api";
import { Field, problemOf, Trouble } from "./pieces/basic";
import { Mark } from "./pieces/icons";

export function Login({ problem: before, done }: { problem: Problem | null; done: () => void }) {
  const [key, set] = useState("");
  const [problem, put] = useState<Problem | null>(before);
  const [busy, wait] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    wait(true);
    try {
      await send("POST", "/console/login", { key: key.trim() });
      set("");
      done();
    } catch (error) {
      put(problemOf(error));
    } finally {
      wait(false);
    }
  };
  return (
    <main class="gate">
      <form onSubmit={submit}>
        <div class="mark"><Mark />fireclay</div>
        <div><h1>Log in</h1><p class="soft">With an API key of this service. It is exchanged for a login of twelve hours and not kept by this page.</p></div>
        {problem && <Trouble problem={problem} />}
        <Field label="API key"><input class="code" type="password" name="key" autocomplete="off" spellcheck={false} required placeholder="fc_…" value={key} onInput={(event) => set(event.currentTarget.value)} autofocus /></Field>
        <button class="primary" disabled={busy || !key.trim()}>Log in</button>
        <p class="small soft">No key? On the machine of the service, <code>fireclay key create --role admin</code> makes one.</p>
      </form>
    </main>
  );
}
