// Tells the site of each page that somebody sees: its path, where they came from, and nothing else (docs/beacon.md).
// `make script` makes beacon.min.js of it, which is what browsers get.
(() => {
    "use strict";

    const script = document.currentScript;
    const options = script.dataset;
    const endpoint = new URL(options.endpoint || new URL("note", script.src), location);
    const exclude = options.exclude && new RegExp(options.exclude);
    // of the query, what makes a page of its own (PAGESTATS_QUERY), and what says where somebody came from
    const ofPage = (options.query || "").split(" ");
    const ofSource = ["source", "medium", "campaign", "term", "content"].map((it) => `utm_${it}`).concat("ref", "source");

    // the scheme and host alone; what follows in this document came from the site itself
    let referrer = (document.referrer.match(/^[^/]+\/\/[^/]+/) || [""])[0];
    let at = ""; // the page that was told last, or what has replaced it
    let isWaiting = false;
    let isAllowed = false;

    // a frame is part of a page; and a framework that swaps the body runs its scripts again
    if (typeof pagestats === "function" || top !== window) {
        return;
    }

    const page = () => {
        const isRoute = "hash" in options && /^#[!/]/.test(location.hash); // an anchor is no page
        return location.pathname + (isRoute ? `%23${location.hash.slice(1).split("?")[0]}` : "");
    };

    const query = (names) => {
        const found = [...new URLSearchParams(location.search)].filter(([name, value]) => value && names.includes(name));
        return new URLSearchParams(found.map(([name, value]) => [name, value.slice(0, 200)]));
    };

    const here = () => `${page()}?${query(ofPage)}`;

    const isRefused = () => (options.gpc !== "false" && navigator.globalPrivacyControl)
        || (options.dnt !== "false" && navigator.doNotTrack === "1");

    const tell = (path) => {
        if (!isAllowed || isRefused() || (exclude && exclude.test(path))) {
            return;
        }
        const body = [path, query(ofPage.concat(ofSource)), referrer].join("\n");
        referrer = location.origin;
        // sendBeacon names no origin to another one where the policy for referrers is Django's
        if (endpoint.origin !== location.origin || !navigator.sendBeacon?.(endpoint, body)) {
            fetch(endpoint, {
                method: "POST",
                body,
                keepalive: true,
                mode: "no-cors",
                credentials: "include",
                referrerPolicy: "strict-origin",
            }).catch(() => {});
        }
    };

    const whenSeen = (then) => {
        const event = document.prerendering ? "prerenderingchange" : document.hidden && "visibilitychange";
        if (event) {
            document.addEventListener(event, () => whenSeen(then), { once: true });
        } else {
            then();
        }
    };

    const view = () => {
        if (isWaiting) {
            return;
        }
        isWaiting = true;
        whenSeen(() => {
            isWaiting = false;
            if (at !== here()) {
                at = here();
                tell(page());
            }
        });
    };

    const listen = () => {
        addEventListener("pageshow", (event) => {
            if (event.persisted) { // out of the browser's back/forward cache
                at = "";
                view();
            }
        });
        if (window.navigation) {
            navigation.addEventListener("currententrychange", (event) => {
                if (/push|traverse/.test(event.navigationType)) {
                    view();
                } else if (!isWaiting) {
                    at = here();
                }
            });
        } else {
            const push = history.pushState;
            history.pushState = function (...values) {
                push.apply(this, values);
                view();
            };
            addEventListener("popstate", view);
        }
    };

    const allow = () => {
        if (!isAllowed) {
            isAllowed = true;
            if (options.auto !== "false") {
                view();
                listen();
            }
        }
    };

    window.pagestats = (path) => whenSeen(() => tell(path ? new URL(path, location).pathname : page()));
    window.pagestats.allow = allow;
    if (!("consent" in options)) {
        allow();
    }
})();
