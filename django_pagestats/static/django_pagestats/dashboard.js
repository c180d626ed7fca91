// The chart's cursor, the keys, and the wait for a first page view; all else is there without a script.
(() => {
    "use strict";
    const find = (selector, within = document) => within.querySelector(selector);
    const all = (selector, within = document) => [...within.querySelectorAll(selector)];

    // -- the cursor: the numbers that it tells are those of the table

    const svg = find(".pagestats-chart");
    const reading = find(".pagestats-told");
    const rows = all(".pagestats-figure tbody tr");
    const heads = all(".pagestats-figure thead th").map((it) => it.textContent);
    let place = -1;

    function move(to) {
        const slots = Number(svg.dataset.pagestatsSlots);
        const next = Math.max(0, Math.min(to, rows.length - 1));
        if (!rows.length || next === place) return;
        place = next;
        const cursor = find(".pagestats-cursor", svg);
        const x = `${(100 * (place + 0.5)) / slots}%`;
        cursor.setAttribute("x1", x);
        cursor.setAttribute("x2", x);
        cursor.setAttribute("visibility", "visible");
        const [name, ...texts] = [...rows[place].cells].map((it) => it.textContent);
        reading.textContent = `${name}: ${texts.map((text, at) => text && `${heads[at + 1]} ${text}`).filter(Boolean).join(", ")}`;
    }

    function leave() {
        place = -1;
        find(".pagestats-cursor", svg).setAttribute("visibility", "hidden");
        reading.textContent = "";
    }

    function onChartKey(event) {
        const to = {
            ArrowLeft: place < 0 ? rows.length - 1 : place - 1,
            ArrowRight: place + 1,
            Home: 0,
            End: rows.length - 1,
        }[event.key];
        if (event.key === "Escape") leave();
        if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        event.stopPropagation();
        move(to);
    }

    if (svg && reading) {
        svg.addEventListener("keydown", onChartKey);
        svg.addEventListener("blur", leave);
        svg.addEventListener("pointermove", (event) => {
            const box = svg.getBoundingClientRect();
            move(Math.floor(((event.clientX - box.left) / box.width) * Number(svg.dataset.pagestatsSlots)));
        });
        svg.addEventListener("pointerleave", leave);
    }

    // -- the keys: off while somebody types, with a modifier, and by the switch

    const dialog = find("#pagestats-keys");
    const button = find("[data-pagestats-keys-button]");
    const keySwitch = find("[data-pagestats-keys-switch]");
    const STORED = "pagestats-keys";
    // a browser may refuse to keep anything
    const stored = {
        get: () => { try { return localStorage.getItem(STORED); } catch { return null; } },
        set: (value) => { try { localStorage.setItem(STORED, value); } catch { /* until the page is left */ } },
    };

    function open(id) {
        const details = find(id);
        if (!details) return;
        details.open = !details.open;
        find(details.open ? "input:not([type=hidden])" : "summary", details).focus();
    }

    function nextInterval() {
        const items = all("[data-pagestats-interval]");
        const at = items.findIndex((it) => it.hasAttribute("aria-current"));
        if (items.length) items[(at + 1) % items.length].click();
    }

    function onKey(event) {
        const target = event.target;
        if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || dialog.open) return;
        if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
        const key = event.key.toLowerCase();
        const act = {
            "?": () => dialog.showModal(),
            c: () => open("#pagestats-days"),
            i: nextInterval,
            "/": () => find("[data-pagestats-search]")?.focus(),
        }[key];
        if (key !== "?" && !keySwitch.checked) return;
        const link = find(`[data-pagestats-key="${CSS.escape(key)}"]`);
        if (!act && !link) return;
        event.preventDefault();
        act ? act() : link.click();
    }

    if (dialog && button && keySwitch) {
        button.hidden = false;
        button.addEventListener("click", () => dialog.showModal());
        keySwitch.checked = stored.get() !== "off";
        keySwitch.addEventListener("change", () => stored.set(keySwitch.checked ? "on" : "off"));
        document.addEventListener("keydown", onKey);
    }

    // -- names of countries and languages, which the browser knows in the page's language; without one the code stays

    for (const code of all("[data-pagestats-code]")) {
        try {
            const type = code.dataset.pagestatsCode;
            const names = new Intl.DisplayNames([document.documentElement.lang || "en"], { type, fallback: "none" });
            code.textContent = names.of(code.textContent) ?? code.textContent;
        } catch { /* an old browser, or no code */ }
    }

    // -- the first page view

    const waits = find("[data-pagestats-waits]");

    async function look() {
        try {
            const answer = await fetch(location.href, { credentials: "same-origin" });
            if (answer.ok && !(await answer.text()).includes("data-pagestats-waits")) {
                find("[data-pagestats-first]").hidden = false;
                return;
            }
        } catch { /* asked again */ }
        setTimeout(look, 5000);
    }

    if (waits) setTimeout(look, 5000);

    // -- a recount that goes on

    async function follow() {
        try {
            const answer = await fetch(location.href, { credentials: "same-origin" });
            const page = new DOMParser().parseFromString(await answer.text(), "text/html");
            const now = answer.ok && page.querySelector(".pagestats-checks");
            if (now) find(".pagestats-checks").replaceWith(now);
        } catch { /* asked again */ }
        if (find("[data-pagestats-checking]")) setTimeout(follow, 3000);
    }

    if (find("[data-pagestats-checking]")) setTimeout(follow, 3000);
})();
