// Takes a picture of every page, for people to look at: node look.mjs URL DIRECTORY [PAGE…]
import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { serve } from "./made.mjs";

const [url, directory, ...only] = process.argv.slice(2);
mkdirSync(directory, { recursive: true });
const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const complaints = [];
const PAGES = { overview: "#/", playground: "#/play", traces: "#/traces", trace: "#/traces/" + "0".repeat(31) + "4", compare: `#/compare?a=${"0".repeat(31)}4&b=${"0".repeat(31)}1`, sessions: "#/sessions", agent: "#/agent", keys: "#/keys", settings: "#/settings", doctor: "#/doctor", templates: "#/templates", nodes: "#/nodes" };
for (const [scheme, width, height] of [["light", 1440, 900], ["dark", 1440, 900], ["light", 375, 812]]) {
  const page = await (await browser.newContext({ colorScheme: scheme, viewport: { width, height } })).newPage();
  page.on("console", (said) => { if (["error", "warning"].includes(said.type())) complaints.push(`${said.text()} ${said.location().url}`); });
  page.on("pageerror", (error) => complaints.push(error.stack));
  await serve(page);
  for (const [name, at] of Object.entries(PAGES)) {
    if (only.length && !only.includes(name)) continue;
    await page.goto(`${url}/${at}`);
    await page.reload();
    await page.waitForTimeout(900);
    if (name === "playground") {
      await page.getByRole("button", { name: /^Run/ }).click();
      await page.locator(".result .badge.good, .result .badge.bad").first().waitFor();
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) complaints.push(`${name} ${width}: ${wide} px too wide`);
    await page.screenshot({ path: `${directory}/${name}-${scheme}-${width}.png`, fullPage: false });
  }
}
console.log([...new Set(complaints)].join("\n") || "no complaints");
await browser.close();
