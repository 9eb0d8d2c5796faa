// The broker's pages that no address leads to: what has to happen before each.

import { LOGOUT_BUTTON, begin, newContext, signIn } from './browser.mjs';

/** The session cookie of a demo, which is served over plain HTTP. */
const SESSION = 'session';

/**
 * Name, English heading, and a function that leaves a page of a new context there. It takes the page and the journey's
 * options, of which `limited` is the address of a demo that allows one session for each person.
 */
export const STATES = [
  ['ended-by-provider', 'Your company account signed you out', endedByProvider],
  ['login-loop', 'The sign-in goes round and round', loginLoop],
  ['too-many-sessions', 'You have reached your session limit', tooManySessions],
];

const guarded = (base) => `${base}/orders?status=open`;

/** One sign-in at the provider, two sessions at the broker; signing out of one ends the other. */
async function endedByProvider(page, { base, provider }) {
  const context = page.context();
  const session = async () => (await context.cookies(base)).find(({ name }) => name === SESSION);
  await signIn(page, provider, guarded(base));
  const first = await session();
  await context.clearCookies({ name: SESSION });
  await page.goto(guarded(base));
  const second = await session();
  if (!second || second.value === first.value) throw new Error('there is no second session');
  await page.goto(`${base}/sso/logout`);
  await page.locator(LOGOUT_BUTTON).first().click();
  await page.waitForURL((url) => url.pathname === '/sso/signed-out');
  await context.addCookies([first]);
  await page.goto(guarded(base));
}

/** A session cookie that never comes back, and a provider that answers without asking. */
async function loginLoop(page, { base, provider }) {
  await signIn(page, provider, guarded(base));
  for (let landings = 1; landings < 12 && page.url() === guarded(base); landings += 1) {
    await page.context().clearCookies({ name: SESSION });
    await page.goto(guarded(base));
  }
}

/** Signed in elsewhere already, where one session is all that a person may have. */
async function tooManySessions(page, { limited, provider }) {
  const elsewhere = await newContext(page.context().browser());
  for (const somewhere of [await elsewhere.newPage(), page]) await begin(somewhere, provider, guarded(limited));
  await elsewhere.close();
}
