// What every part of the journey needs from the browser.

import { createRequire } from 'node:module';

// The packages are installed beside the counterparts, not here.
const require = createRequire(new URL('../counterparts/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const axe = require('axe-core');

const WCAG_TAGS = ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa'];
const INTERACTIVE = 'a[href], button, input:not([type="hidden"]), select, textarea, summary, [tabindex="0"]';

/** Longest wait for anything, in milliseconds: a slow machine is no fault. */
const PATIENCE = 60_000;

export const LOGOUT_BUTTON = 'form[action="/sso/logout"] button';

/** How to get through each identity provider's login page as alice. */
const PROVIDERS = {
  demo: (page) => page.locator('button[name="account"][value="alice"]').click(),
};

export function launch() {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    headless: true,
    timeout: PATIENCE,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
    // People have the back/forward cache, so the Back check needs it as well.
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  });
}

export async function newContext(browser, options = {}) {
  const context = await browser.newContext(options);
  context.setDefaultTimeout(PATIENCE);
  return context;
}

/** Opens a guarded address and logs in as alice, whatever comes of it; returns the login page's origin. */
export async function begin(page, provider, guarded) {
  await page.goto(guarded);
  const loginOrigin = new URL(page.url()).origin;
  await passProvider(page, provider, new URL(guarded).origin);
  return loginOrigin;
}

/** Logs in as alice if the page is the provider's, and waits for the page at `origin` that this leads to. */
export async function passProvider(page, provider, origin) {
  if (!page.url().startsWith(`${origin}/`)) await PROVIDERS[provider](page);
  await page.waitForURL((url) => url.origin === origin);
}

/** Opens a guarded address and logs in as alice; returns the login page's origin. */
export async function signIn(page, provider, guarded) {
  const loginOrigin = await begin(page, provider, guarded);
  await page.waitForURL((url) => url.href === guarded);
  return loginOrigin;
}

/** Collects the cookies one origin sets: their attributes, and whether the broker itself set them. */
export function watchCookies(page, origin) {
  const reads = [];
  const cookies = new Map();
  page.on('response', (response) => {
    const url = new URL(response.url());
    if (url.origin !== origin) return;
    const read = readCookies(response, url.pathname, cookies);
    // Whoever asks hears of a failure; an icon that arrives while the page closes fails unasked.
    read.catch(() => {});
    reads.push(read);
  });
  return async () => {
    await Promise.all(reads);
    return cookies;
  };
}

async function readCookies(response, path, cookies) {
  for (const { name, value } of await response.headersArray()) {
    if (name.toLowerCase() !== 'set-cookie') continue;
    // Chromium joins several headers of this name with line feeds.
    for (const line of value.split('\n')) {
      const [pair, ...attributes] = line.split(';').map((part) => part.trim());
      const [cookie, content] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)];
      if (!content) continue;
      // A session may be renewed on the back office's answers, too.
      const fromBroker = cookies.get(cookie)?.fromBroker || path.startsWith('/sso/');
      cookies.set(cookie, { fromBroker, attributes: attributes.map((a) => a.toLowerCase()) });
    }
  }
}

/** Collects console errors (a violated policy is one) of the broker's own pages. */
export function watchConsole(page, isBrokerPage) {
  const errors = [];
  const documents = new Set();
  const ours = (url) => isBrokerPage(url) || isBrokerPage(page.url());
  page.on('response', (response) => {
    if (response.request().isNavigationRequest()) documents.add(response.url());
  });
  page.on('console', (message) => {
    const { url } = message.location();
    if (message.type() !== 'error' || !ours(url)) return;
    // An error page's own status is logged as well, and so is the icon the browser guesses.
    const missing = message.text().startsWith('Failed to load resource');
    if (missing && (documents.has(url) || url.endsWith('/favicon.ico'))) return;
    errors.push(`${page.url()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => {
    if (ours(page.url())) errors.push(`${page.url()}: ${error.message}`);
  });
  return errors;
}

/** Notes each page as the person first sees it: fresh, or restored by Back. */
export async function watchShown(page) {
  const shown = [];
  await page.exposeFunction('reportShown', (entry) => shown.push(entry));
  await page.addInitScript(() => {
    if (window !== window.top) return;
    addEventListener('pageshow', (event) => {
      window.reportShown({
        url: location.href,
        restored: event.persisted,
        text: document.body?.innerText ?? '',
      });
    });
  });
  return shown;
}

/** Goes back until the first entry, at most `limit` times; returns how often it went. */
export async function pressBack(page, shown, limit) {
  // page.goBack() waits for events that a restored page never sends.
  const cdp = await page.context().newCDPSession(page);
  for (let went = 0; went < limit; went += 1) {
    const { currentIndex, entries } = await cdp.send('Page.getNavigationHistory');
    const previous = entries[currentIndex - 1];
    if (!previous || previous.url === 'about:blank') return went;
    const before = shown.length;
    await cdp.send('Page.navigateToHistoryEntry', { entryId: previous.id });
    await until(() => shown.length > before, `a page after going back to ${previous.url}`);
  }
  return limit;
}

async function until(condition, what) {
  const deadline = Date.now() + PATIENCE;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`no sign of ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Tabs through the page; returns complaints about what is not reached or not outlined. */
export async function keyboardFaults(page) {
  const all = await page.evaluate(interactiveElements, INTERACTIVE);
  const outlined = new Map();
  // Twice around, as a page may start with the focus in its middle.
  for (let press = 0; press < 2 * all.length + 2 && outlined.size < all.length; press += 1) {
    await page.keyboard.press('Tab');
    const focus = await page.evaluate(focusedElement, INTERACTIVE);
    if (focus.index >= 0) outlined.set(focus.index, focus.outlined);
  }
  const faults = all.flatMap((label, index) => {
    if (!outlined.has(index)) return [`not reached: ${label}`];
    return outlined.get(index) ? [] : [`no outline: ${label}`];
  });
  return { count: all.length, faults };
}

function interactiveElements(selector) {
  const visible = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility() && !e.disabled);
  return visible.map((e) => e.outerHTML.slice(0, 80));
}

function focusedElement(selector) {
  const visible = [...document.querySelectorAll(selector)].filter((e) => e.checkVisibility() && !e.disabled);
  const style = getComputedStyle(document.activeElement);
  return {
    index: visible.indexOf(document.activeElement),
    outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0
      && !/, 0\)$|transparent/.test(style.outlineColor),
  };
}

/** The violations axe-core finds in light and in dark; the context must bypass the page's policy. */
export async function axeViolations(page) {
  await page.evaluate(axe.source);
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await page.evaluate(
      (values) => window.axe.run(document, { runOnly: { type: 'tag', values } }),
      WCAG_TAGS,
    );
    found.push(...violations.map((v) => `${colorScheme} ${v.id}: ${v.nodes.map((n) => n.target).join(' ')}`));
  }
  return found;
}
