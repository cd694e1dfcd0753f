//! The rule of packages: names one letter away from a well-known one.

use super::{Sink, quote};
use crate::facts::Facts;
use model::Language;

/// Well-known names that others imitate; at least five letters, so that one letter is a small part.
const PYTHON: [&str; 43] = [
    "requests",
    "numpy",
    "pandas",
    "scipy",
    "matplotlib",
    "django",
    "flask",
    "urllib3",
    "setuptools",
    "cryptography",
    "tensorflow",
    "torch",
    "selenium",
    "beautifulsoup4",
    "pillow",
    "boto3",
    "botocore",
    "sqlalchemy",
    "pytest",
    "paramiko",
    "colorama",
    "python-dateutil",
    "scikit-learn",
    "opencv-python",
    "pyyaml",
    "jinja2",
    "aiohttp",
    "fastapi",
    "pydantic",
    "tqdm",
    "openai",
    "anthropic",
    "langchain",
    "transformers",
    "seaborn",
    "plotly",
    "keras",
    "scrapy",
    "psutil",
    "redis",
    "celery",
    "httpx",
    "certifi",
];
const NODE: [&str; 27] = [
    "express",
    "lodash",
    "react",
    "axios",
    "chalk",
    "commander",
    "moment",
    "webpack",
    "typescript",
    "cross-env",
    "dotenv",
    "mongoose",
    "jsonwebtoken",
    "babel-core",
    "jquery",
    "nodemailer",
    "socket.io",
    "puppeteer",
    "node-fetch",
    "eslint",
    "prettier",
    "request",
    "underscore",
    "async",
    "electron",
    "colors",
    "bluebird",
];
/// Names that were published to imitate, or that stand for another and are not it.
const IMITATIONS: [&str; 46] = [
    "python3-dateutil",
    "jeilyfish",
    "colourama",
    "python-sqlite",
    "djanga",
    "diango",
    "easyinstall",
    "libpeshka",
    "libpeshnx",
    "pyquest",
    "request3",
    "requsets",
    "reqeusts",
    "crossenv",
    "cross-env.js",
    "mongose",
    "jquery.js",
    "loadyaml",
    "electorn",
    "discordi.js",
    "discord-selfbot-v14",
    "beautifulsoup",
    "bs5",
    "pytorch-nightly-cpu",
    "tensorflow-gpu-cuda",
    "opencv-python3",
    "sklearns",
    "panda3s",
    "nmap-python",
    "setup-tools",
    "ssh-decorate",
    "acqusition",
    "apidev-coop",
    "bzip",
    "crypt",
    "django-server",
    "pwd",
    "setup-tools3",
    "telnet",
    "urlib3",
    "urllib",
    "lodahs",
    "expres",
    "python-mysql",
    "pyscrapy",
    "node-sass-x",
];
/// Real names that are near another.
const REAL: [&str; 22] = [
    "urllib2",
    "tslint",
    "scapy",
    "pyutil",
    "asyncpg",
    "requests-html",
    "panda",
    "preact",
    "colorsys",
    "tensorflows",
    "flasks",
    "moments",
    "color",
    "asyncx",
    "requests2",
    "httpx",
    "keras2",
    "torchs",
    "reacts",
    "redux",
    "reds",
    "pytests",
];

/// Applies the rule.
pub fn apply(facts: &Facts, language: Language, sink: &mut Sink) {
    let known: &[&str] = match language {
        Language::Python => &PYTHON,
        Language::JavaScript | Language::TypeScript => &NODE,
        _ => &[],
    };
    for (module, at) in &facts.modules {
        let top = module.split(['.', '/']).next().unwrap_or(module);
        let real = matches!(top, "urllib" | "crypt" | "pwd" | "bzip" | "telnet" | "request")
            || module.starts_with('.')
            || module.starts_with('/');
        if !real && imitates(top, known) {
            sink.add("package.typosquat", *at, quote(top));
        }
    }
    for command in &facts.commands {
        let words = command.inner();
        let (known, rest): (&[&str], _) = match (command.program(), words.get(1).map(String::as_str)) {
            ("pip" | "pip3" | "uv" | "poetry" | "pipx", _)
                if words.iter().any(|word| matches!(word.as_str(), "install" | "add")) =>
            {
                (&PYTHON, &words[1..])
            }
            ("python" | "python3", Some("-m")) if words.iter().any(|word| word == "install") => {
                (&PYTHON, &words[1..])
            }
            // `sys.executable -m pip install`
            (_, Some("-m"))
                if words.iter().any(|word| word == "install") && words.iter().any(|word| word == "pip") =>
            {
                (&PYTHON, &words[1..])
            }
            ("npm" | "yarn" | "pnpm" | "npx", _) => (&NODE, &words[1..]),
            _ => continue,
        };
        for word in rest.iter().filter(|word| !word.starts_with('-')) {
            let name = word.split(['=', '<', '>', '~', '[']).next().unwrap_or(word);
            let name = name.rsplit_once('@').map_or(name, |(name, _)| name);
            if imitates(name, known) {
                sink.add("package.typosquat", command.at, quote(name));
            }
        }
        if words.iter().any(|word| {
            word.starts_with("--index-url=http://")
                || word == "--index-url"
                || word == "--extra-index-url"
                || word == "--trusted-host"
        }) && command.words.iter().any(|word| word.contains("http://"))
        {
            sink.add("package.typosquat", command.at, "an index without TLS");
        }
    }
}

fn imitates(name: &str, known: &[&str]) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    if known.contains(&name.as_str()) || REAL.contains(&name.as_str()) {
        return false;
    }
    IMITATIONS.contains(&name.as_str())
        || name.len() >= 5
            && name.len() < 40
            && known.iter().filter(|one| one.len() >= 5).any(|one| is_one_off(&name, one))
}

/// Whether two words differ by one letter more, less or other, or by two neighbours that changed places.
fn is_one_off(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let begin = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let end = a[begin..].iter().rev().zip(b[begin..].iter().rev()).take_while(|(x, y)| x == y).count();
    let (left, right) = (a.len() - begin - end, b.len() - begin - end);
    let swapped = left == 2 && right == 2 && a[begin] == b[begin + 1] && a[begin + 1] == b[begin];
    left.max(right) <= 1 || swapped
}
