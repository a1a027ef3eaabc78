// Goes through every page of the dashboard in a real browser: node check.mjs, with WEB, CONTROL, CHROMIUM and SHOTS set.
// Each step is a sentence; the first that does not hold ends the run.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { WEB, CONTROL, CHROMIUM, SHOTS } = process.env;
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const browser = await chromium.launch({
  executablePath: CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

const troubles = [];
const open = async options => {
  // The checker is put into pages past their policy, which is the browser's to check: see `policy` below.
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("console", message => { if (message.type() === "error") troubles.push(`console: ${message.text()}`); });
  page.on("pageerror", error => troubles.push(`error: ${error.message}`));
  page.on("dialog", dialog => { troubles.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", request => {
    const { host } = new URL(request.url());
    if (host !== new URL(WEB).host) troubles.push(`a request off the machine: ${request.url()}`);
  });
  return page;
};

const accessible = async (page, where) => {
  await page.evaluate(await (await import("node:fs/promises")).readFile(axe, "utf8"));
  const { violations } = await page.evaluate(() => axe.run());
  const found = violations.map(v => `${v.id}: ${v.nodes.map(node => node.target).join(", ")}`);
  assert.deepEqual(found, [], `accessibility of ${where}`);
};

const step = async (sentence, run) => {
  const began = Date.now();
  try {
    await run();
  } catch (error) {
    console.log(`FAILED: ${sentence}`);
    throw error;
  }
  assert.deepEqual(troubles, [], sentence);
  console.log(`ok (${Date.now() - began} ms): ${sentence}`);
};

try {
  const page = await open({ viewport: { width: 1280, height: 800 } });
  const paths = ["/", "/services/echo", "/topology", "/call", "/call?service=echo&method=test.v1.Echo%2FUnary", "/events",
    "/events?topic=orders.created", "/tap", "/registry", "/registry?service=echo", "/cli"];
  for (const path of paths) {
    await step(`${path} is shown, and axe finds no violation`, async () => {
      const response = await page.goto(WEB + path);
      assert.equal(response.status(), 200);
      await page.waitForSelector("h1");
      await accessible(page, path);
      const name = path === "/" ? "services" : path.replace(/\W+/g, "-").replace(/^-|-$/g, "");
      await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: true });
    });
  }
  await step("nothing that a service says of itself has run", async () => {
    for (const path of ["/", "/topology", "/registry"]) {
      await page.goto(WEB + path);
      for (const details of await page.locator("details > summary").all()) await details.click();
      assert.equal(await page.evaluate(() => window.pwned), undefined, path);
    }
    await page.goto(WEB);
    const links = await page.locator("#services a").evaluateAll(all => all.map(link => link.getAttribute("href")));
    for (const link of links.filter(link => link.includes("pwned"))) {
      await page.goto(WEB + link);
      for (const details of await page.locator("details > summary").all()) await details.click();
      assert.equal(await page.evaluate(() => window.pwned), undefined, link);
    }
  });
  await step("a method is called by its form, with the keyboard alone", async () => {
    await page.goto(`${WEB}/call?service=echo&method=test.v1.Echo%2FUnary`);
    await page.getByLabel("text", { exact: false }).first().focus();
    await page.keyboard.type("said in a browser");
    assert.match(await page.locator("[name=request]").inputValue(), /"text": "said in a browser"/);
    await page.getByRole("button", { name: "Call" }).focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#answer").textContent.includes("said in a browser"));
  });
  await step("the call is seen in the figures and on the map", async () => {
    await page.goto(`${WEB}/topology`);
    await page.waitForSelector("svg.map path.edge", { state: "attached" });
    await page.screenshot({ path: join(SHOTS, "topology.png"), fullPage: true });
  });
  await step("a stream is shown as it comes", async () => {
    await page.goto(`${WEB}/call?service=echo&method=test.v1.Echo%2FMany`);
    await page.locator("[name=request]").fill('{"number": 3}');
    await page.getByRole("button", { name: "Call" }).click();
    await page.waitForFunction(() => document.querySelector("#answer").textContent.includes('"number": "2"'));
  });
  await step("a replica that dies leaves the screen without a reload", async () => {
    await page.goto(`${WEB}/services/echo`);
    await page.waitForFunction(() => document.querySelectorAll("#endpoints > tr").length === 2);
    await page.waitForSelector('#status[data-state="live"]');
    await fetch(`${CONTROL}/withdraw/b`, { method: "POST" });
    await page.waitForFunction(() => document.querySelectorAll("#endpoints > tr").length === 1);
  });
  await step("an event that is published is seen", async () => {
    await page.goto(`${WEB}/events?topic=orders.created`);
    await page.waitForTimeout(300);
    await page.locator("[name=body]").fill('{"apples": 7}');
    await page.getByRole("button", { name: "Publish" }).click();
    await page.waitForSelector('tbody[data-feed] >> text={"apples": 7}');
  });
  await step("a request is seen on the tap as it ends", async () => {
    await page.goto(`${WEB}/tap`);
    await page.waitForTimeout(300);
    const other = await open();
    await other.goto(`${WEB}/call?service=echo&method=test.v1.Echo%2FUnary`);
    await other.getByRole("button", { name: "Call" }).click();
    await page.waitForSelector("tbody[data-feed] >> text=micro web");
    await other.context().close();
  });
  await step("the terminal runs a command", async () => {
    await page.goto(`${WEB}/cli`);
    await page.getByLabel("Command").fill("list");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector("#output").textContent.includes("echo"));
  });
  await step("the filter leaves what it is asked for", async () => {
    await page.goto(WEB);
    await page.getByLabel("Filter").fill("echo");
    await page.waitForFunction(() => [...document.querySelectorAll("#services > tr")].filter(row => !row.hidden).length === 1);
  });
  await step("a web app is shown below its name, and its WebSocket works", async () => {
    await page.goto(`${WEB}/shop/`);
    assert.equal(await page.locator("h1").textContent(), "Shop");
    const said = await page.evaluate(url => new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      socket.onopen = () => socket.send("hello");
      socket.onmessage = event => resolve(event.data);
      socket.onerror = () => reject(new Error("the socket failed"));
    }), `${WEB.replace("http", "ws")}/shop/ws`);
    assert.equal(said, "hello");
  });
  for (const [name, options] of [
    ["a phone", { viewport: { width: 360, height: 740 }, colorScheme: "light" }],
    ["the dark", { viewport: { width: 1280, height: 800 }, colorScheme: "dark" }],
  ]) {
    await step(`the pages are whole on ${name}`, async () => {
      const page = await open(options);
      for (const path of ["/", "/services/echo", "/call", "/tap"]) {
        await page.goto(WEB + path);
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wider <= 0, `${path} is ${wider} px too wide`);
        await accessible(page, `${path} on ${name}`);
      }
      await page.screenshot({ path: join(SHOTS, `${name.split(" ")[1]}.png`) });
      await page.context().close();
    });
  }
} finally {
  await browser.close();
}
