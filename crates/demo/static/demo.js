// The "latest orders" panel of the sample back office: asks the API, and says so when the session has ended.
"use strict";

(() => {
  const panel = document.querySelector("[data-latest-orders]");
  if (!panel) {
    return;
  }
  const notice = panel.querySelector("[data-notice]");
  const list = panel.querySelector("[data-list]");
  let timer;

  const tell = (text, link) => {
    const message = link ? `${text} ` : text;
    // The panel polls: what has not changed is not written again, so that a screen reader does not repeat it.
    if (notice.firstChild?.textContent !== message || Boolean(link) !== Boolean(notice.querySelector("a"))) {
      notice.replaceChildren(message, ...(link ? [link] : []));
    }
    notice.classList.toggle("message-error", Boolean(link));
    notice.hidden = !text;
  };

  const anchor = (href, text) => {
    const link = document.createElement("a");
    link.href = href;
    link.textContent = text;
    return link;
  };

  const row = (order) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.append(anchor(`/orders/${encodeURIComponent(order.number)}`, order.number), ` ${order.customer}`);
    const state = document.createElement("span");
    state.className = `status status-${order.status}`;
    state.textContent = order.status;
    item.append(name, state);
    return item;
  };

  const sessionEnded = async (response) => {
    const isProblem = (response.headers.get("content-type") ?? "").includes("application/problem+json");
    const problem = isProblem ? await response.json().catch(() => ({})) : {};
    const detail = typeof problem.detail === "string" ? ` ${problem.detail}` : "";
    list.replaceChildren();
    // Loading this page anew leads through the sign-in and back to here.
    tell(`Your session has ended.${detail}`, anchor(location.href, "Sign in again"));
  };

  const load = async () => {
    const options = { headers: { Accept: "application/json" }, credentials: "same-origin", redirect: "manual" };
    const response = await fetch(panel.dataset.latestOrders, options);
    if (response.status === 401 || response.type === "opaqueredirect") {
      clearInterval(timer);
      return sessionEnded(response);
    }
    if (!response.ok) {
      throw new Error(`status ${response.status}`);
    }
    const { orders } = await response.json();
    list.replaceChildren(...orders.slice(0, 6).map(row));
    tell("");
  };

  const refresh = () => {
    if (document.visibilityState === "visible") {
      load().catch(() => tell("The latest orders could not be loaded. Trying again soon."));
    }
  };

  timer = setInterval(refresh, Number(panel.dataset.pollSeconds) * 1000);
  refresh();
})();
