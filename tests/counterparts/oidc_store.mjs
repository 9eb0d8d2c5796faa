// Storage for oidc-provider. Its built-in one is an LRU of 1000 entries, which
// would evict live sessions and refresh tokens during a load test.

const SWEEP_MS = 60_000;

export class Store {
  #records = new Map();
  #sessionByUid = new Map();
  #keysByGrant = new Map();

  constructor() {
    setInterval(() => this.#sweep(), SWEEP_MS).unref();
  }

  /** The factory oidc-provider asks for: one adapter per model, all on this store. */
  adapter = (model) => ({
    upsert: async (id, payload, seconds) => this.#put(model, id, payload, seconds),
    find: async (id) => this.#get(keyOf(model, id)),
    findByUid: async (uid) => this.#get(keyOf(model, this.#sessionByUid.get(uid))),
    // Only the device flow has user codes, and it is off.
    findByUserCode: async () => undefined,
    consume: async (id) => {
      const payload = this.#get(keyOf(model, id));
      if (payload) payload.consumed = Math.floor(Date.now() / 1000);
    },
    destroy: async (id) => this.#drop(keyOf(model, id)),
    revokeByGrantId: async (grantId) => {
      for (const key of [...(this.#keysByGrant.get(grantId) ?? [])]) this.#drop(key);
    },
  });

  /** Drops the sessions, grants and tokens of one person; returns how many sessions there were. */
  endAccount(account) {
    let sessions = 0;
    for (const [key, { payload }] of this.#records) {
      if (payload.accountId !== account) continue;
      if (payload.kind === 'Session') sessions += 1;
      this.#drop(key);
    }
    return sessions;
  }

  #put(model, id, payload, seconds) {
    const key = keyOf(model, id);
    const expiresAt = seconds === undefined ? Infinity : Date.now() + seconds * 1000;
    this.#records.set(key, { payload, expiresAt });
    if (model === 'Session') this.#sessionByUid.set(payload.uid, id);
    if (payload.grantId) this.#keysOfGrant(payload.grantId).add(key);
  }

  #get(key) {
    const record = this.#records.get(key);
    if (record && record.expiresAt <= Date.now()) {
      this.#drop(key);
      return undefined;
    }
    return record?.payload;
  }

  #drop(key) {
    const payload = this.#records.get(key)?.payload;
    this.#records.delete(key);
    if (!payload) return;
    // A session changes its id at login; the index may already name the new one.
    if (payload.kind === 'Session' && keyOf('Session', this.#sessionByUid.get(payload.uid)) === key) {
      this.#sessionByUid.delete(payload.uid);
    }
    const siblings = this.#keysByGrant.get(payload.grantId);
    siblings?.delete(key);
    if (siblings?.size === 0) this.#keysByGrant.delete(payload.grantId);
  }

  #keysOfGrant(grantId) {
    if (!this.#keysByGrant.has(grantId)) this.#keysByGrant.set(grantId, new Set());
    return this.#keysByGrant.get(grantId);
  }

  #sweep() {
    const now = Date.now();
    for (const [key, { expiresAt }] of this.#records) if (expiresAt <= now) this.#drop(key);
  }
}

function keyOf(model, id) {
  return `${model}:${id}`;
}
