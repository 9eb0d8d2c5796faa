// One person's way through the broker in a real browser: deep link, login,
// logout, Back, and the look of the broker's own pages.
//   node journey.mjs '{"base":"http://127.0.0.1:8080","limited":"http://127.0.0.1:8090","provider":"demo",
//     "screenshots":null,"pages":[]}'
// One JSON line per check; exit code 1 if any failed.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  LOGOUT_BUTTON, axeViolations, keyboardFaults, launch, newContext, passProvider, pressBack,
  signIn,
  watchConsole, watchCookies, watchShown,
} from './browser.mjs';
import { STATES } from './states.mjs';

const options = JSON.parse(process.argv[2]);
const { base, screenshots = null, provider = 'demo', pages = [] } = options;
const origin = new URL(base).origin;
const host = new URL(base).hostname;
const ORDERS = `${base}/orders?status=open`;
const CONFIRM = `${base}/sso/logout`;
const SIGNED_OUT = `${base}/sso/signed-out`;
const PROTECTED = 'Alice Kim';

const BROKER_PAGES = [
  ['confirmation', CONFIRM],
  ['signed-out', SIGNED_OUT],
  ['error', `${base}/sso/callback/company?state=bogus&code=x`],
  ...pages.map((page, index) => [`extra-${index + 1}`, new URL(page, base).href]),
];

let failed = false;

/** Runs one check; a thrown error is its failure, the returned text its detail. */
async function check(name, act) {
  let ok = true;
  let detail;
  try {
    detail = await act();
  } catch (error) {
    ok = false;
    detail = error.message;
  }
  failed ||= !ok;
  console.log(JSON.stringify({ check: name, ok, detail: detail ?? '' }));
}

function expect(condition, message) {
  if (!condition) throw new Error(message);
}

function expectNone(faults) {
  expect(faults.length === 0, faults.join('; '));
}

function isBrokerPage(url) {
  return url.startsWith(`${origin}/sso/`);
}

function at(url) {
  const { origin: o, pathname } = new URL(url);
  return o + pathname;
}

function apiStatus(page) {
  return page.evaluate(async () => (await fetch('/api/orders')).status);
}

/** The session cookie has no fixed name: it is what the login leaves behind. */
function isPending(name) {
  return /login/i.test(name);
}

async function jarNames(context) {
  const jar = await context.cookies();
  return jar.filter((cookie) => cookie.domain.replace(/^\./, '') === host).map((cookie) => cookie.name);
}

async function sessionCookies(context, cookies) {
  const names = await jarNames(context);
  const left = names.filter((name) => cookies.get(name)?.fromBroker && !isPending(name));
  expect(left.length > 0, `no session cookie in the jar: ${names.join(', ')}`);
  return left;
}

function cookieFaults(name, attributes) {
  const wrong = ['httponly', 'samesite=lax', 'path=/'].filter((wanted) => !attributes.includes(wanted));
  const domain = attributes.filter((attribute) => attribute.startsWith('domain='));
  return [...wrong.map((wanted) => `${name} lacks ${wanted}`), ...domain.map((d) => `${name} has ${d}`)];
}

/** Opens a page and makes sure that it is the one: a redirect would be judged instead. */
async function open(page, url) {
  await page.goto(url);
  expectAt(page, url);
}

function expectAt(page, url) {
  expect(at(page.url()) === at(url), `${page.url()} instead of ${url}`);
}

async function keyboard(page, url) {
  expectAt(page, url);
  const { count, faults } = await keyboardFaults(page);
  expectNone(faults);
  return `${count} elements`;
}

async function checkSignIn(page) {
  await check('deep link: login and back to the exact address', async () => {
    const loginOrigin = await signIn(page, provider, ORDERS);
    expect(loginOrigin !== origin, 'the login page is on the broker itself');
    expect((await page.innerText('body')).includes(PROTECTED), `${PROTECTED} is not on the page`);
    return page.url();
  });
}

/** Checks the cookie after login; returns the names, for the check that they go. */
async function checkCookies(page, allCookies) {
  let names = [];
  await check('session cookie: HttpOnly, SameSite=Lax, Path=/, no Domain', async () => {
    const cookies = await allCookies();
    names = await sessionCookies(page.context(), cookies);
    expectNone(names.flatMap((name) => cookieFaults(name, cookies.get(name).attributes)));
    return names.join(', ');
  });
  await check('session cookie: hidden from scripts', async () => {
    expect(names.length > 0, 'no session cookie to look for');
    const seen = await page.evaluate(() => document.cookie);
    expectNone(names.filter((name) => seen.includes(`${name}=`)));
  });
  // Without this the 401 after the logout would prove nothing.
  await check('api: answers while signed in', async () => {
    const status = await apiStatus(page);
    expect(status === 200, `status ${status}`);
  });
  return names;
}

async function checkLogout(page, sessionNames, allCookies) {
  await check('keyboard: confirmation page', async () => {
    await page.goto(CONFIRM);
    return keyboard(page, CONFIRM);
  });
  await check('logout: ends at the signed-out page', async () => {
    await page.locator(LOGOUT_BUTTON).first().click();
    await page.waitForURL((url) => at(url) === SIGNED_OUT);
    return page.url();
  });
  await check('logout: no session or pending login cookie is left', async () => {
    expect(sessionNames.length > 0, 'no session cookie to look for');
    const cookies = await allCookies();
    const names = await jarNames(page.context());
    expectNone(names.filter((name) => sessionNames.includes(name) || (cookies.has(name) && isPending(name))));
  });
  await check('keyboard: signed-out page', () => keyboard(page, SIGNED_OUT));
}

async function checkApiRefused(browser, page) {
  await check('api: 401 after logout', async () => {
    // The signed-out page's policy may forbid any fetch, which is not what is asked here.
    const storageState = await page.context().storageState();
    const context = await newContext(browser, { bypassCSP: true, storageState });
    const twin = await context.newPage();
    await twin.goto(SIGNED_OUT);
    const status = await apiStatus(twin);
    await context.close();
    expect(status === 401, `status ${status}`);
  });
}

async function checkBack(page, shown) {
  await check('back: no protected content after logout', async () => {
    const before = shown.length;
    const went = await pressBack(page, shown, 6);
    expect(went > 0, 'there was nothing to go back to');
    const seen = shown.slice(before);
    // The provider may well show the name on its login page.
    const leaks = seen.filter(({ url, text }) => new URL(url).origin === origin && text.includes(PROTECTED));
    expectNone(leaks.map(({ url, restored }) => `${url}${restored ? ' (back/forward cache)' : ''}`));
    return `${went} times: ${seen.map(({ url, restored }) => at(url) + (restored ? '*' : '')).join(', ')}`;
  });
}

async function journey(browser) {
  const context = await newContext(browser);
  const page = await context.newPage();
  const allCookies = watchCookies(page, origin);
  const errors = watchConsole(page, isBrokerPage);
  const shown = await watchShown(page);

  await checkSignIn(page);
  const sessionNames = await checkCookies(page, allCookies);
  await checkLogout(page, sessionNames, allCookies);
  await checkApiRefused(browser, page);
  await checkBack(page, shown);
  await check('console: no error or policy violation on broker pages', async () => {
    for (const [, url] of BROKER_PAGES) await page.goto(url);
    expectNone(errors);
  });
  await context.close();
}

/** Opens a page; the signed-out page as a stranger, because whoever is signed in is led elsewhere. */
async function openPage(context, page, url) {
  const cookies = url === SIGNED_OUT ? await context.cookies() : [];
  if (cookies.length > 0) await context.clearCookies();
  await open(page, url);
  if (cookies.length > 0) await context.addCookies(cookies);
}

async function accessibility(browser) {
  const context = await newContext(browser, { bypassCSP: true });
  const page = await context.newPage();
  await check('accessibility: login for the pass', async () => { await signIn(page, provider, ORDERS); });
  for (const [name, url] of BROKER_PAGES) {
    await check(`accessibility: ${name} page`, async () => {
      await openPage(context, page, url);
      expectNone(await axeViolations(page));
    });
  }
  await context.close();
}

/** Runs `act` on each of the pages that no address leads to, every time in a browser that nobody used before. */
async function inEachState(browser, contextOptions, act) {
  for (const [name, heading, reach] of STATES) {
    const context = await newContext(browser, contextOptions);
    const page = await context.newPage();
    await reach(page, options);
    await act(name, page, heading);
    await context.close();
  }
}

async function checkStates(browser) {
  await inEachState(browser, { bypassCSP: true }, async (name, page, heading) => {
    await check(`${name} page: the right one, by keyboard, for everybody`, async () => {
      const shown = await page.innerText('h1');
      expect(shown === heading, `${shown} instead of ${heading}`);
      expectNone((await keyboardFaults(page)).faults);
      expectNone(await axeViolations(page));
    });
    await check(`${name} page: its first button leads back to work`, async () => {
      const { origin: broker } = new URL(page.url());
      await page.locator('main button, main a.button').first().click();
      await page.waitForLoadState();
      await passProvider(page, provider, broker);
      expectAt(page, ORDERS.replace(origin, broker));
    });
  });
}

/** A form that is sent after its session has ended, as the person lives it: sign in in a new tab, reload here. */
async function checkLateForm(browser) {
  const context = await newContext(browser);
  const page = await context.newPage();
  const form = `${base}/approvals`;
  await check('late form: what was typed arrives after signing in in a new tab and reloading', async () => {
    await signIn(page, provider, form);
    // The demo's forms have buttons alone.
    await page.locator('form[action="/approvals/write-off-12"]').evaluate((element) => {
      element.insertAdjacentHTML('afterbegin', '<input name="note">');
    });
    await page.locator('input[name="note"]').fill('typed for an hour: 한글 & more');
    const other = await context.newPage();
    await other.goto(CONFIRM);
    await other.locator(LOGOUT_BUTTON).first().click();
    await other.waitForURL((url) => at(url) === SIGNED_OUT);
    await other.close();
    await page.locator('form[action="/approvals/write-off-12"] button[value="reject"]').click();
    await page.waitForURL((url) => url.pathname === '/approvals/write-off-12');
    const link = page.locator('a[target="_blank"]');
    const instead = await page.locator('main a:not([target])').first().getAttribute('href');
    expect(instead === '/sso/login?return_to=%2Fapprovals', `the second link leads to ${instead}`);
    const [tab] = await Promise.all([context.waitForEvent('page'), link.click()]);
    await tab.waitForLoadState();
    await passProvider(tab, provider, origin);
    await tab.waitForURL(`${base}/sso/signed-in`);
    expect((await tab.innerText('body')).includes('You can close this tab'), await tab.innerText('body'));
    await tab.close();
    const [sent] = await Promise.all([
      page.waitForRequest((request) => request.method() === 'POST'),
      page.reload(),
    ]);
    const fields = new URLSearchParams(sent.postData());
    expect(fields.get('note') === 'typed for an hour: 한글 & more', `sent again: ${sent.postData()}`);
    await page.goto(form);
    expect((await page.innerText('body')).includes(`Rejected by ${PROTECTED}`), await page.innerText('main'));
    return fields.get('note');
  });
  await context.close();
}

/** Pages for somebody who cannot go on where they are: none of them leads back to work by its first button. */
const DEAD_ENDS = [
  ['forbidden', async (page) => {
    await signIn(page, provider, ORDERS);
    await page.goto(`${base}/finance`);
  }],
  ['late-form', async (page) => {
    await signIn(page, provider, `${base}/approvals`);
    const other = await page.context().newPage();
    await other.goto(CONFIRM);
    await other.locator(LOGOUT_BUTTON).first().click();
    await other.waitForURL((url) => at(url) === SIGNED_OUT);
    await other.close();
    // Another one than the late form above has decided.
    await page.locator('form[action^="/approvals/"] button[value="reject"]').last().click();
    await page.waitForURL((url) => url.pathname.startsWith('/approvals/'));
  }],
  ['signed-in', async (page) => {
    await signIn(page, provider, ORDERS);
    await page.goto(`${base}/sso/signed-in`);
  }],
];

async function inEachDeadEnd(browser, contextOptions, act) {
  for (const [name, reach] of DEAD_ENDS) {
    const context = await newContext(browser, contextOptions);
    const page = await context.newPage();
    await reach(page);
    await act(name, page);
    await context.close();
  }
}

async function checkDeadEnds(browser) {
  await inEachDeadEnd(browser, { bypassCSP: true }, async (name, page) => {
    await check(`${name} page: by keyboard, for everybody`, async () => {
      expectNone((await keyboardFaults(page)).faults);
      expectNone(await axeViolations(page));
      return page.innerText('h1');
    });
  });
}

async function takeScreenshots(browser, locale, colorScheme) {
  const take = async (name, page) => {
    for (const width of [360, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      const file = `${name}-${colorScheme}-${locale}-${width}.png`;
      await page.screenshot({ path: join(screenshots, file), fullPage: true });
    }
  };
  const context = await newContext(browser, { locale, colorScheme });
  const page = await context.newPage();
  await signIn(page, provider, ORDERS);
  for (const [name, url] of BROKER_PAGES) {
    await openPage(context, page, url);
    await take(name, page);
  }
  await context.close();
  await inEachState(browser, { locale, colorScheme }, take);
  await inEachDeadEnd(browser, { locale, colorScheme }, take);
}

const browser = await launch();
try {
  await journey(browser);
  await accessibility(browser);
  await checkStates(browser);
  await checkDeadEnds(browser);
  await checkLateForm(browser);
  if (screenshots) {
    await mkdir(screenshots, { recursive: true });
    for (const locale of ['en', 'ko']) {
      for (const colorScheme of ['light', 'dark']) {
        await check(`screenshots: ${locale} ${colorScheme}`, () => takeScreenshots(browser, locale, colorScheme));
      }
    }
  }
} finally {
  await browser.close();
}
process.exitCode = failed ? 1 : 0;
