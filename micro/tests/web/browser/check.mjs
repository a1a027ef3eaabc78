// Goes through every page of the dashboard in a real browser: node check.mjs, with WEB, CONTROL, CHROMIUM and SHOTS set.
// Each step is a sentence; the first that does not hold ends the run.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { WEB, APPS, LOGIN, CONTROL, CHROMIUM, SHOTS } = process.env;
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
    const { origin } = new URL(request.url());
    if (![WEB, APPS, LOGIN].includes(origin)) troubles.push(`a request off the machine: ${request.url()}`);
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
  await step("what a caller streams is one answer, and a talk is many", async () => {
    for (const [method, said, answer] of [["Sum", '{"number": 1}\n{"number": 2}', '"number": "3"'],
      ["Chat", '{"text": "one"}\n{"text": "two"}', '"text": "two"'], ["Fail", '{"number": 5}', "NOT_FOUND: as you asked"]]) {
      await page.goto(`${WEB}/call?service=echo&method=test.v1.Echo%2F${method}`);
      await page.locator("[name=request]").fill(said);
      await page.getByRole("button", { name: "Call" }).click();
      await page.waitForFunction(answer => document.querySelector("#answer").textContent.includes(answer), answer);
    }
  });
  await step("an endpoint's own figures are shown, and which endpoint answered", async () => {
    await page.goto(`${WEB}/services/echo`);
    await page.waitForSelector("#endpoints >> text=up 1 min, 7 requests");
    const statuses = await page.evaluate(async () => {
      const call = JSON.stringify({ service: "echo", method: "Echo.Unary", request: { text: "hello" } });
      const statuses = new Set();
      for (let number = 0; number < 60; number += 1) {
        const answer = await fetch("/rpc", { method: "POST", headers: { "content-type": "application/json" }, body: call });
        statuses.add(answer.status);
      }
      return [...statuses];
    });
    assert.deepEqual(statuses, [200]);
    await page.waitForFunction(() => /[1-9]\d* requests in two minutes/.test(document.querySelector("#endpoints").innerHTML));
    await page.screenshot({ path: join(SHOTS, "dashboard.png"), clip: { x: 0, y: 0, width: 1280, height: 550 } });
  });
  await step("a replica that dies leaves the screen without a reload", async () => {
    await page.goto(`${WEB}/services/echo`);
    await page.waitForFunction(() => document.querySelectorAll("#endpoints > tr").length === 2);
    await page.waitForSelector('#status[data-state="live"]');
    await fetch(`${CONTROL}/die`, { method: "POST" });
    await page.waitForFunction(() => document.querySelectorAll("#endpoints > tr").length === 1);
  });
  await step("what went while the connection was lost is gone when it is back", async () => {
    // A connection that is lost is an error on the console: this page is not listened to.
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.route("**/live/services", route => route.abort());
    await page.goto(WEB);
    await page.waitForSelector('#status[data-state="lost"]');
    await page.evaluate(() => document.getElementById("services").insertAdjacentHTML("beforeend", '<tr id="ghost"><td>ghost</td></tr>'));
    await page.unroute("**/live/services");
    await page.waitForSelector('#status[data-state="live"]');
    await page.waitForSelector("#ghost", { state: "detached" });
    assert.ok(await page.locator("#services > tr").count() > 0);
    await context.close();
  });
  await step("a page that is one too many says so, and is live once there is a place", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.route("**/live/services", route => route.fulfill({ status: 429, body: "too many" }));
    await page.goto(WEB);
    await page.waitForSelector('#status[data-state="lost"]');
    assert.match(await page.locator("#status").textContent(), /^Not live: /);
    await page.unroute("**/live/services");
    await page.waitForSelector('#status[data-state="live"]');
    await context.close();
  });
  await step("an event that is published is seen", async () => {
    await page.goto(`${WEB}/events?topic=orders.created`);
    await page.waitForTimeout(300);
    await page.locator("[name=body]").fill('{"apples": 7}');
    await page.getByRole("button", { name: "Publish" }).click();
    await page.waitForSelector('tbody[data-feed] >> text={"apples": 7}');
    const hostile = "<img src=x onerror=window.pwned=1><script>window.pwned=1</script>";
    await page.locator("[name=body]").fill(hostile);
    await page.getByRole("button", { name: "Publish" }).click();
    await page.waitForFunction(text => document.querySelector("tbody[data-feed]").textContent.includes(text), hostile);
    assert.equal(await page.evaluate(() => window.pwned), undefined);
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
    assert.equal(page.url(), `${APPS}/shop/`, "it has an origin of its own");
    assert.equal(await page.locator("h1").textContent(), "Shop");
    const said = await page.evaluate(url => new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      socket.onopen = () => socket.send("hello");
      socket.onmessage = event => resolve(event.data);
      socket.onerror = () => reject(new Error("the socket failed"));
    }), `${APPS.replace("http", "ws")}/shop/ws`);
    assert.equal(said, "hello");
  });
  await step("a hostile web app cannot use the dashboard, nor a page elsewhere its sockets", async () => {
    // What it tries is refused, which the browser says on the console: this page is not listened to.
    const context = await browser.newContext();
    const page = await context.newPage();
    const before = await (await fetch(`${CONTROL}/list`, { method: "POST" })).text();
    await page.goto(`${WEB}/evil/`);
    const got = await page.evaluate(async web => {
      const got = {};
      const attempt = async (name, run) => {
        // What nothing comes of is refused too.
        const late = new Promise((_, reject) => setTimeout(() => reject(new DOMException("", "TimeoutError")), 3000));
        try { got[name] = await Promise.race([run(), late]); } catch (error) { got[name] = `refused: ${error.name}`; }
      };
      const form = new URLSearchParams({ line: "deregister echo --all", service: "echo", method: "Echo.Unary", topic: "t", body: "b" });
      for (const path of ["/", "/registry", "/live/services"]) {
        await attempt(`read ${path}`, async () => (await fetch(web + path, { credentials: "include" })).text());
      }
      for (const path of ["/cli", "/call", "/events", "/logout"]) {
        await attempt(`post ${path}`, async () => (await fetch(web + path, { method: "POST", body: form })).text());
        await fetch(web + path, { method: "POST", mode: "no-cors", credentials: "include", body: form, signal: AbortSignal.timeout(3000) }).catch(() => {});
        const frame = document.body.appendChild(document.createElement("iframe"));
        frame.name = `frame${path}`;
        const shown = document.body.appendChild(document.createElement("form"));
        Object.assign(shown, { action: web + path, method: "post", target: frame.name });
        const field = shown.appendChild(document.createElement("input"));
        [field.name, field.value] = ["line", "deregister echo --all"];
        shown.submit();
      }
      const once = (source, good) => new Promise((resolve, reject) => {
        source.addEventListener(good, () => resolve("open"));
        source.addEventListener("error", () => reject(new DOMException("", "Error")));
      });
      await attempt("stream", () => once(new EventSource(`${web}/tap/stream`), "open"));
      await attempt("socket", () => once(new WebSocket(`${web.replace("http", "ws")}/cli`), "open"));
      await attempt("script", () => once(Object.assign(document.head.appendChild(document.createElement("script")), { src: document.querySelector("script")?.src ?? `${web}/registry` }), "load"));
      await attempt("worker", async () => { await navigator.serviceWorker.register(`${web}/evil/worker.js`); return "registered"; });
      await attempt("frame", async () => {
        const frame = document.body.appendChild(document.createElement("iframe"));
        frame.src = web;
        await new Promise(resolve => { frame.onload = resolve; });
        return frame.contentDocument.title;
      });
      await attempt("window", async () => {
        const opened = window.open(web);
        // Until it has come there it is an empty page of whoever opened it.
        await new Promise(resolve => setTimeout(resolve, 1000));
        return opened.document.title;
      });
      return got;
    }, WEB);
    for (const [name, told] of Object.entries(got)) assert.match(told, /^refused: /, `${name} of ${JSON.stringify(got)}`);
    await page.waitForTimeout(500);
    assert.equal(await (await fetch(`${CONTROL}/list`, { method: "POST" })).text(), before, "nothing has changed");
    const elsewhere = await context.newPage();
    await elsewhere.route("**/*", route => route.fulfill({ contentType: "text/html", body: "<h1>Elsewhere</h1>" }));
    await elsewhere.goto(CONTROL);
    for (const place of [WEB, APPS]) {
      const opened = await elsewhere.evaluate(url => new Promise(resolve => {
        const socket = new WebSocket(url);
        socket.onopen = () => resolve(true);
        socket.onerror = () => resolve(false);
      }), `${place.replace("http", "ws")}/shop/ws`);
      assert.equal(opened, false, `${place} opens a socket to a page of ${CONTROL}`);
    }
    await context.close();
  });
  await step("a dashboard with a login shows nothing before it, and one that is read-only changes nothing", async () => {
    const page = await open();
    await page.goto(`${LOGIN}/services/echo`);
    assert.equal(page.url(), `${LOGIN}/login`);
    await accessible(page, "the login");
    await page.screenshot({ path: join(SHOTS, "login.png") });
    await page.getByLabel("Token or password").fill("open sesame");
    await page.keyboard.press("Enter");
    await page.waitForSelector("h1 >> text=Services");
    for (const path of ["/call?service=echo&method=test.v1.Echo%2FUnary", "/events?topic=t", "/cli"]) {
      await page.goto(LOGIN + path);
      await page.waitForSelector("text=read-only");
      await accessible(page, `${path}, read-only`);
    }
    await page.getByLabel("Command").fill("deregister echo --all");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#output >> text=you may not deregister");
    await page.getByRole("button", { name: "Log out" }).click();
    await page.goto(LOGIN);
    assert.equal(page.url(), `${LOGIN}/login`);
    await page.context().close();
  });
  for (const [name, options] of [
    ["a phone", { viewport: { width: 360, height: 740 }, colorScheme: "light" }],
    ["the dark", { viewport: { width: 1280, height: 800 }, colorScheme: "dark" }],
  ]) {
    await step(`the pages are whole on ${name}`, async () => {
      const page = await open(options);
      for (const path of paths) {
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
