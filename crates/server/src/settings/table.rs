//! Every setting: its name, what it is by default, and what it means.

use super::Row;

/// Every setting, in the order of the reference page.
pub const TABLE: &[Row] = &[
    row(
        "listen",
        "\"127.0.0.1:8000\"",
        "Where to listen. Another address than a loopback one needs a key first",
    ),
    row("image", "\"default\"", "The image that runs see"),
    row(
        "concurrency",
        "0",
        "Runs at once; 0 is sixteen for each processor, or as many as have their usual memory in three quarters of the machine's",
    ),
    row(
        "concurrency_young",
        "0",
        "Of these, runs in their first 50 ms; 0 is twice the processors. Those that take longer hold up no others",
    ),
    row("pool.min", "4", "Sandboxes that always wait, built, for runs with the default limits"),
    row(
        "pool.max",
        "64",
        "Most sandboxes that wait, for runs with any limits; as many do as lately ran at once",
    ),
    row(
        "pool.memory",
        "\"256MiB\"",
        "Memory that waiting sandboxes may take, at 2 MiB for each, 48 MiB with Node started in it; the fewer of this and `pool.max` holds",
    ),
    row(
        "pool.warm",
        "[\"python-data\"]",
        "Templates whose interpreter is warm from the start, if their packages are installed; another's is with its first run. Of `NAME=COUNT` so many sandboxes always wait, too",
    ),
    row("queue", "10000", "Runs that may wait for a place, of all tenants together"),
    row("queue_bytes", "\"1GiB\"", "Code, input and files that may wait with them, in memory"),
    row(
        "tenant.concurrency",
        "0",
        "Runs at once of one tenant, unless its quota says otherwise; 0 is `concurrency`",
    ),
    row("tenant.queue", "2000", "Waiting runs of one tenant"),
    row("tenant.rate_per_minute", "0", "Runs that one tenant may submit in a minute; 0 is any number"),
    row("tenant.ceiling", "{}", "The most that one tenant's runs may ask for, as `[ceiling]`"),
    row("tenant.sessions", "100", "Sessions of one tenant that are open at once"),
    row("tenant.tasks", "8", "Tasks of one tenant that are on their way at once"),
    row(
        "session.max",
        "1000",
        "Sessions that are open at once, of all tenants together; each takes three processes and two of the service's descriptors",
    ),
    row(
        "session.memory_free",
        "\"256MiB\"",
        "When the machine has less memory available than this, the session in which nothing has run for longest ends, and another a second later; its files are kept as those of any that ends",
    ),
    row(
        "session.idle_ttl_ms",
        "\"30m\"",
        "How long a session stays in which nothing runs, unless it asks for another time, 24 hours at most",
    ),
    row(
        "session.ttl_ms",
        "\"24h\"",
        "How long a session stays at most, from its opening or from when it was last renewed",
    ),
    row("session.processes", "16", "Processes of a session that run at once beside its runs; 0 allows none"),
    row("session.keep_files_ms", "\"24h\"", "How long the files of a session are kept after its end"),
    row(
        "session.files_bytes",
        "\"10GiB\"",
        "How much the files of all ended sessions may take together; those of the session that ended first go first",
    ),
    row(
        "ports.listen",
        "\"127.0.0.1:0\"",
        "Where ports of sessions are served that asked for it, apart from the API; by any free port unless one is named, `off` for none",
    ),
    row(
        "ports.url",
        "\"\"",
        "How browsers reach them from elsewhere, such as `https://ports.example.com`: each port has a name below it, so names and certificate are for `*.ports.example.com`; empty is below `localhost`. Take a domain on which nothing else is",
    ),
    row(
        "ports.answer_timeout_ms",
        "\"60s\"",
        "How long what listens in a session may take to begin its answer",
    ),
    row(
        "packages.allow",
        "[\"*\"]",
        "Packages that runs and sessions may ask for: names, and patterns with `*`; what they need comes with them",
    ),
    row("packages.deny", "[]", "Packages that nothing may bring"),
    row("packages.index", "\"https://pypi.org/simple\"", "Where packages come from"),
    row(
        "packages.indexes",
        "[]",
        "Indexes that are asked before it, such as a company's own; the first that has a package of that name is the only one it comes from. Their hosts go into `packages.hosts`",
    ),
    row(
        "packages.source",
        "false",
        "Whether a package without a wheel is built from its source, which runs its code and fetches what that needs, in the sandbox of the build",
    ),
    row(
        "packages.hosts",
        "[\"pypi.org\", \"files.pythonhosted.org\"]",
        "Hosts of the index and of the files that it lists: all that a build reaches",
    ),
    row("packages.registry", "\"https://registry.npmjs.org\"", "Where packages of npm come from"),
    row(
        "packages.npm_hosts",
        "[\"registry.npmjs.org\"]",
        "Hosts of the registry and of the files that it lists: all that a build of npm's packages reaches",
    ),
    row(
        "packages.min_age_ms",
        "0",
        "Releases younger than this are not seen, such as `\"168h\"`: most bad ones are found within days",
    ),
    row(
        "packages.require_hashes",
        "false",
        "Whether tenants have to name the hashes of all packages of Python that they ask for, as `six==1.17.0 --hash=sha256:…`",
    ),
    row(
        "packages.offline",
        "false",
        "Whether nothing is fetched: then only packages that are there can be asked for",
    ),
    row(
        "packages.cached",
        "[]",
        "What is installed when the service starts, for all tenants: each entry is what a run may ask for together, such as `\"numpy pandas>=2\"`",
    ),
    row(
        "packages.cache_bytes",
        "\"20GiB\"",
        "What installed packages may take together; those that were not used for longest go first",
    ),
    row("templates.max", "1000", "Templates that are not shipped, of all tenants and everybody's together"),
    row(
        "templates.bytes",
        "\"50GiB\"",
        "What their layers may take together, old versions too; when they take more, no other is built",
    ),
    row(
        "templates.tenant_max",
        "20",
        "Templates of one tenant's own; 0 leaves building them to administrators",
    ),
    row("templates.tenant_bytes", "\"10GiB\"", "What the layers of one tenant's own may take"),
    row(
        "python.paths",
        "[]",
        "Pythons beside the image's that runs and sessions may ask for (`python`), as paths of programs; they come before those that are found",
    ),
    row(
        "python.detect",
        "true",
        "Whether others are looked for: on PATH, in `/usr/bin` and `/usr/local/bin`, and where pyenv and uv keep theirs",
    ),
    row(
        "python.download",
        "false",
        "Whether uv brings a Python that is asked for and not there (from GitHub), for all",
    ),
    row("packages.build_timeout_ms", "\"10m\"", "How long resolving and installing may take, each"),
    row("packages.build_memory", "\"2GiB\"", "Memory of a build"),
    row("packages.build_disk", "\"6GiB\"", "Files of a build, in memory"),
    row("packages.compile_timeout_ms", "\"30s\"", "How long compiling one program may take"),
    row("packages.compile_memory", "\"1GiB\"", "Memory of that"),
    row("packages.compile_disk", "\"256MiB\"", "Its files and what it makes, in memory"),
    row(
        "egress.enabled",
        "true",
        "Whether runs and sessions may reach hosts that they ask for (`egress`), through the proxy; without that they reach none",
    ),
    row(
        "egress.within",
        "[]",
        "Hosts that they may reach at most, whatever they ask for, such as `pypi.org`, `*.example.org:443`; empty is any",
    ),
    row(
        "egress.private",
        "[]",
        "Ranges of addresses that are not of the public internet and may be reached all the same, such as `10.1.0.0/16`; metadata services of clouds only by their own address",
    ),
    row(
        "egress.tunnels",
        "[]",
        "`HOST:PORT` to which something else than TLS may go, if a request names just that",
    ),
    row(
        "egress.ca",
        "\"\"",
        "A file with certificates (PEM) that servers are checked by where secrets go, besides those that the machine trusts",
    ),
    row("egress.connections", "64", "Connections of one sandbox to the proxy at once"),
    row("egress.bytes_up", "\"100MiB\"", "Bytes that one sandbox may send to hosts"),
    row("egress.bytes_down", "\"1GiB\"", "Bytes that one sandbox may receive from them"),
    row(
        "limits",
        "{}",
        "What a run gets when it names nothing: any of `timeout_ms`, `memory_bytes`, `cpus`, `processes`, `disk_bytes`, `output_bytes`",
    ),
    row("ceiling", "{ timeout_ms = \"1h\" }", "The most that any run may ask for; larger wishes are clamped"),
    row("allow_missing", "[]", "Layers of isolation that runs may do without on this machine"),
    row("body_bytes", "\"64MiB\"", "The largest request body, batches apart, which are read as they come"),
    row("connections", "1024", "Connections at once"),
    row("header_timeout_ms", "\"10s\"", "How long a client may take to send a request's head"),
    row(
        "body_timeout_ms",
        "\"30s\"",
        "How long a client may send nothing of a body, or take nothing of an answer",
    ),
    row("drain_timeout_ms", "\"30s\"", "How long runs may go on after SIGTERM"),
    row(
        "fsync",
        "false",
        "Whether every record is on disk before it is acknowledged: it then survives a power cut, not only a crash",
    ),
    row("retention.age_ms", "\"720h\"", "How long settled runs are kept"),
    row("retention.bytes", "\"10GiB\"", "How much records and artifacts may take; the oldest go first"),
    row("traces.enabled", "true", "Whether runs, sessions, tasks and batches leave traces"),
    row(
        "traces.content",
        "\"full\"",
        "How much of what went in and came out traces show: `full` up to `traces.bytes_max`, `preview` the first 150 characters, `off` nothing; the records of runs keep what `retention` says",
    ),
    row("traces.bytes_max", "\"64KiB\"", "The most of one text that a trace shows"),
    row(
        "traces.age_ms",
        "\"720h\"",
        "How long traces are kept; that of a run goes with the run at the latest",
    ),
    row(
        "traces.otlp.endpoint",
        "\"\"",
        "The OpenTelemetry collector that traces are sent to when they end (OTLP/HTTP, Protocol Buffers), such as `http://127.0.0.1:4318`; empty is none. One at `https://` is checked by what the machine trusts, and by the file in OTEL_EXPORTER_OTLP_CERTIFICATE. Headers for it, `NAME=VALUE,…`, are in the variable OTEL_EXPORTER_OTLP_HEADERS",
    ),
    row("traces.max", "1000000", "How many traces are kept; the oldest go first"),
    row(
        "allowed_hosts",
        "[]",
        "Names by which this service is reached, besides loopback ones: checked against `Host` when no key is needed",
    ),
    row(
        "check.mode",
        "\"warn\"",
        "What is done about findings of the static check when a run does not say: `off`, `warn` or `deny`",
    ),
    row(
        "check.policy",
        "\"default\"",
        "Which findings are looked for then: `default`, `strict` or `agentrun`",
    ),
    row(
        "check.rules",
        "{}",
        "What is done about single rules: `off`, `warn` or `deny` by id, or by the beginning of ids with a `*`, such as `check.rules.tree.destroy`",
    ),
    row(
        "check.enforce",
        "false",
        "Whether `check.mode`, `check.policy` and `check.rules` are the least: then runs and tenants may ask for more, and not for less",
    ),
    row(
        "model.name",
        "\"\"",
        "The language model of the service, as `provider:model` or `provider`; empty is none. Its key is in the provider's variable (`OPENAI_API_KEY`), or in the data directory by `fireclay secret set`. Needs a build with the feature `agent`",
    ),
    row(
        "model.base_url",
        "\"\"",
        "Where it is, if not at its provider's own address; empty is there, or what the provider's variable says (`OPENAI_BASE_URL`)",
    ),
    row(
        "model.reviewer",
        "\"\"",
        "Another model that reviews programs (`review`), as `provider:model`; empty is the same one",
    ),
    row(
        "model.any",
        "true",
        "Whether requests to `/v1/chat/completions` may name other models of the same provider",
    ),
    row("model.turns", "25", "Answers of the model that one request may take"),
    row(
        "model.tokens",
        "200000",
        "Tokens, read and written, that one request may take; the turn that goes beyond is the last",
    ),
    row(
        "model.dollars",
        "1.0",
        "Dollars that one question of a task may cost, as far as the price of the model is known",
    ),
    row("model.runs", "50", "Runs of code that one request may take"),
    row("model.time_ms", "\"10m\"", "How long one request may take"),
    row("model.concurrency", "32", "Requests to the model at once, of all tenants together; more wait"),
    row("model.tenant_concurrency", "8", "Requests to the model at once of one tenant; more wait"),
    row(
        "task.max",
        "64",
        "Tasks that are on their way at once, of all tenants together; each takes a thread",
    ),
    row(
        "task.approval_ms",
        "\"1h\"",
        "How long code of a task waits for a person's word; after that it does not run",
    ),
    row("receipts", "true", "Whether results carry a signed receipt"),
    row(
        "local.idle_ms",
        "\"10m\"",
        "How long a local server (`fireclay local`) goes on when nobody asks, nothing runs and no session is open; 0 is for ever",
    ),
    row("agentrun.enabled", "true", "Whether AgentRun's routes `/v1/run/` and `/v1/health/` are served"),
    row(
        "agentrun.check",
        "\"deny\"",
        "What AgentRun's own check does to programs of its routes: `off` or `deny`",
    ),
    row(
        "agentrun.whitelist",
        "[\"*\"]",
        "Modules that programs of its routes may import beside the standard library: `*` is any, an empty list none; what they need is installed",
    ),
    row(
        "agentrun.cached",
        "[]",
        "Packages that every program of its routes has, installed when the service starts; each is on the whitelist",
    ),
    row("agentrun.timeout_ms", "\"300s\"", "Wall time of a program of its routes"),
    row(
        "agentrun.egress",
        "[]",
        "Hosts that programs of its routes may reach, in the words of `egress.allow`",
    ),
    row("agentrun.cors_origins", "[]", "Origins of browsers that may call AgentRun's routes"),
    row(
        "aigne.serve",
        "\"loopback\"",
        "Whom AIGNE's trace API (`/api/trace/…`, `/api/settings`, `/api/sse`, `/health`) is served to: `loopback` is this machine, `all` everybody, `off` nobody; keys are asked for as everywhere",
    ),
    row(
        "log.requests",
        "\"failed\"",
        "Which requests are logged, with method, path, status, time and id: `off`, `failed` those that end with a status of 500 and above, `all`; never what is in them",
    ),
    row(
        "cluster.url",
        "\"\"",
        "Servers of NATS, `nats://HOST:PORT` with commas between; then runs go to the cluster's workers. Empty is none",
    ),
    row("cluster.credentials", "\"\"", "The file that `fireclay cluster init` wrote for this node"),
    row("cluster.worker", "true", "Whether a gateway's own machine is a worker, too"),
];

const fn row(name: &'static str, default: &'static str, doc: &'static str) -> Row {
    Row { name, default, doc }
}
