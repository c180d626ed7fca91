// Keeps the page of a run up to date: asks for its progress while the run is active, and changes what has changed.
"use strict";

{
    const HIDDEN_SECONDS = 15; // nobody looks
    const MOST_SECONDS = 60; // between two tries while the server does not answer
    const TIMEOUT_SECONDS = 20;

    const page = document.getElementById("pagestats-run");
    let seconds = Number(page?.dataset.seconds ?? 0); // between two questions; 0: the run has ended
    let failures = 0;
    let timer = 0;
    let isAsking = false;
    let isWorking = "works" in (page?.dataset ?? {}); // the next question is also one that does the run's work
    let shownChart = "";
    let queueProblem = { text: "", takenAt: "" }; // said once, and so until a worker takes a task

    const setText = (element, text) => {
        if (element.textContent !== text) { // what is selected stays selected, and nothing is read aloud in vain
            element.textContent = text;
        }
    };

    const setTextOf = (id, text) => setText(document.getElementById(id), text);

    const row = (texts) => {
        const made = document.createElement("tr");
        for (const text of texts) {
            made.insertCell().textContent = text;
        }
        return made;
    };

    const showProgress = (progress) => {
        page.querySelector("progress").value = progress.percent;
        setTextOf("pagestats-percent", progress.percent.toFixed(1));
        for (const [name, text] of Object.entries(progress.texts)) {
            setText(page.querySelector(`[data-pagestats-text="${name}"]`), text);
        }
        setTextOf("pagestats-announcement", progress.announcement);
    };

    const showProblems = (progress) => {
        const list = document.getElementById("pagestats-problems");
        const takenAt = progress.texts.taken_at;
        if (progress.queue_problem || takenAt !== queueProblem.takenAt || !progress.seconds) {
            queueProblem = { text: progress.queue_problem, takenAt };
        }
        const problems = [...progress.problems, queueProblem.text].filter(Boolean);
        if (JSON.stringify(problems) !== list.dataset.shown) {
            list.replaceChildren(...problems.map((text) => {
                const item = document.createElement("li");
                item.className = "warning";
                item.textContent = text;
                return item;
            }));
            list.hidden = !problems.length;
            list.dataset.shown = JSON.stringify(problems);
        }
        const error = document.getElementById("pagestats-error");
        error.hidden = !(progress.error || progress.traceback);
        setText(error.querySelector("pre"), progress.error);
        setTextOf("pagestats-traceback", progress.traceback);
        error.querySelector("details").hidden = !progress.traceback;
    };

    const showChart = (chart) => {
        const text = JSON.stringify(chart);
        if (text === shownChart) {
            return;
        }
        shownChart = text;
        for (const [name, plot] of Object.entries(chart.plots)) {
            const figure = page.querySelector(`[data-pagestats-plot="${name}"]`);
            figure.querySelector("polyline").setAttribute("points", plot.line);
            setText(figure.querySelector(".pagestats-top"), plot.top);
            setText(figure.querySelector(".pagestats-end"), plot.end);
            setTextOf(`pagestats-told-${name}`, plot.description);
        }
        document.querySelector("#pagestats-chart-table tbody").replaceChildren(...chart.rows.map(row));
        document.getElementById("pagestats-chart").hidden = !chart.rows.length;
    };

    const segmentRow = () => {
        const made = document.createElement("tr");
        const head = document.createElement("th");
        head.scope = "row";
        const bar = document.createElement("span");
        bar.className = "pagestats-progress";
        bar.append(document.createElement("progress"), " ", document.createElement("span"), " %");
        bar.querySelector("progress").max = 100;
        made.append(head);
        made.insertCell().append(bar);
        made.insertCell();
        return made;
    };

    const showSegments = (segments) => {
        const section = document.getElementById("pagestats-segments");
        const body = section.querySelector("tbody");
        while (body.rows.length > segments.length) {
            body.deleteRow(-1);
        }
        while (body.rows.length < segments.length) {
            body.append(segmentRow());
        }
        segments.forEach((segment, number) => {
            const cells = body.rows[number].cells;
            const bar = cells[1].querySelector("progress");
            setText(cells[0], segment.name);
            bar.value = segment.percent;
            bar.setAttribute("aria-label", segment.name);
            setText(cells[1].querySelector("span span"), segment.percent.toFixed(1));
            setText(cells[2], segment.worker);
        });
        section.hidden = !segments.length;
    };

    const showEvents = (progress) => {
        document.querySelector("#pagestats-events tbody").prepend(...progress.events.map(row).reverse());
        page.dataset.newestEvent = progress.newest_event;
    };

    const showButtons = (progress) => {
        const focused = document.activeElement;
        for (const item of document.querySelectorAll("[data-pagestats-verb]")) {
            item.hidden = !progress.verbs.includes(item.dataset.pagestatsVerb);
        }
        if (focused.closest("[data-pagestats-verb][hidden]")) { // else who uses the keyboard would begin at the top again
            document.querySelector("[data-pagestats-verb]:not([hidden]) :is(a, button)")?.focus();
        }
        const nice = document.getElementById("pagestats-nice");
        if (nice) {
            nice.hidden = !progress.seconds;
        }
    };

    const ask = async () => {
        const form = isWorking ? document.getElementById("pagestats-fold") : null;
        const url = `${form?.getAttribute("action") ?? page.dataset.progressUrl}?after=${page.dataset.newestEvent}`;
        const answer = await fetch(url, {
            ...(form ? { method: "POST", body: new URLSearchParams(new FormData(form)) } : {}),
            cache: "no-store",
            redirect: "manual", // to the page that asks to log in
            signal: AbortSignal.timeout(1000 * TIMEOUT_SECONDS),
        });
        if (answer.type === "opaqueredirect" || answer.status === 403 || answer.status === 404) {
            document.getElementById("pagestats-no-access").hidden = false;
            seconds = 0;
        } else if (answer.ok) {
            const progress = await answer.json();
            showProgress(progress);
            showProblems(progress);
            showChart(progress.chart);
            showSegments(progress.segments);
            showEvents(progress);
            showButtons(progress);
            seconds = progress.seconds ?? 0;
            isWorking = progress.works;
        } else {
            throw new Error(`status ${answer.status}`);
        }
    };

    const look = async () => {
        clearTimeout(timer);
        if (isAsking) { // the page was hidden and is back meanwhile
            return;
        }
        isAsking = true;
        try {
            await ask();
            failures = 0;
        } catch { // it may come back: the page says so, and asks more and more seldom
            failures += 1;
            isWorking = false;
        }
        isAsking = false;
        document.getElementById("pagestats-no-answer").hidden = failures < 2;
        lookLater();
    };

    const lookLater = () => {
        if (seconds) {
            const usual = Math.min(MOST_SECONDS, seconds * 2 ** failures);
            const isSlow = document.hidden && !isWorking; // who has the page do the work may look at another one
            timer = setTimeout(look, 1000 * (isSlow ? Math.max(HIDDEN_SECONDS, usual) : usual));
        }
    };

    if (seconds) {
        document.addEventListener("visibilitychange", () => {
            if (seconds && !document.hidden) {
                look();
            } else {
                clearTimeout(timer);
                lookLater();
            }
        });
        lookLater();
    }
}
