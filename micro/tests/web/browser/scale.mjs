// How the dashboard fares with many services: node scale.mjs, with WEB, CONTROL, CHROMIUM, SERVICES and CHANGES set.
// Prints what it has measured as one line of JSON; the test that started it says what is enough.
import { chromium } from "playwright-core";

const { WEB, CONTROL, CHROMIUM } = process.env;
const [services, changes] = [Number(process.env.SERVICES), Number(process.env.CHANGES)];
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu", "--disable-quic",
  "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"] });

const control = async path => (await fetch(`${CONTROL}${path}`, { method: "POST" })).text();
const percentile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  // The browser's own start is not the page's.
  await (await context.newPage()).goto("about:blank");
  const paints = [];
  for (let round = 0; round < 3; round += 1) {
    const page = await context.newPage();
    await page.goto(WEB);
    const paint = await page.evaluate(() => new Promise(resolve => {
      const told = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
      const look = () => (told() === undefined ? setTimeout(look, 10) : resolve(told()));
      look();
    }));
    paints.push(paint);
    await page.close();
  }
  const page = await context.newPage();
  const cdp = await context.newCDPSession(page);
  await cdp.send("Performance.enable");
  await page.goto(WEB);
  await page.waitForSelector('#status[data-state="live"]');
  await page.waitForFunction(count => document.querySelectorAll("#services > tr").length === count, services);
  await page.evaluate(() => {
    // When the row of a service says that it has so many endpoints, in milliseconds since 1970.
    window.shown = (name, count) => new Promise(resolve => {
      const look = () => {
        const link = [...document.querySelectorAll("#services a")].find(link => link.textContent === name);
        if (link?.closest("tr").children[2].textContent !== count) return false;
        observer.disconnect();
        resolve(Date.now());
        return true;
      };
      const observer = new MutationObserver(look);
      if (!look()) observer.observe(document.getElementById("services"), { childList: true, subtree: true });
    });
  });
  const waits = [];
  const [before, after] = (await control("/sizes")).split(" ");
  for (let number = 0; number < 40; number += 1) {
    // Every fourth is a service that nobody has seen before.
    const fresh = number % 4 === 3;
    const name = fresh ? `fresh-${number}` : `service-${(number * 37) % services}`;
    const shown = page.evaluate(([name, count]) => window.shown(name, count), [name, fresh ? "1" : after]);
    const at = Date.now();
    await control(`/add/${name}`);
    waits.push(await shown - at);
    await control(`/remove/${name}`);
    if (!fresh) await page.evaluate(([name, count]) => window.shown(name, count), [name, before]);
  }
  waits.sort((one, other) => one - other);
  const sizes = async () => {
    await cdp.send("HeapProfiler.collectGarbage");
    const { metrics } = await cdp.send("Performance.getMetrics");
    const value = name => metrics.find(metric => metric.name === name).value;
    return { heap: value("JSHeapUsedSize"), nodes: value("Nodes"), listeners: value("JSEventListeners"), server: Number(await control("/memory")) };
  };
  // Half of it is let pass before the first look: what is allocated once is not what grows.
  await control(`/churn/${Math.floor(changes / 2)}`);
  await page.waitForTimeout(2000);
  const first = await sizes();
  await control(`/churn/${Math.floor(changes / 2)}`);
  await page.waitForTimeout(2000);
  const last = await sizes();
  const rows = await page.evaluate(() => document.querySelectorAll("#services > tr").length);
  console.log(JSON.stringify({ paint: Math.max(...paints), paints, update50: percentile(waits, 0.5), update99: percentile(waits, 0.99),
    rows, first, last }));
} finally {
  await browser.close();
}
