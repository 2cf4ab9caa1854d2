// Keeps the live figures fresh; a page says all else without it.
const every = (seconds, look) => { look(); setInterval(look, seconds * 1000); };

const told = async (address) => {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
};

for (const part of document.querySelectorAll("[data-live]")) {
  const figures = part.querySelector("[data-figures]");
  every(2, async () => {
    try {
      const { figures: shown } = await told(part.dataset.live);
      figures.replaceChildren(...shown.map(({ title, value }) => {
        const tile = document.createElement("li"), name = document.createElement("span"), number = document.createElement("strong");
        name.textContent = title;
        number.textContent = value;
        tile.append(name, number);
        return tile;
      }));
    } catch {
      figures.textContent = "The live views do not answer; the figures below are exact.";
    }
  });
}

for (const part of document.querySelectorAll("[data-rates]")) {
  const note = part.querySelector("[data-note]"), counted = note.textContent;
  every(3, async () => {
    try {
      const { rates, behind } = await told(part.dataset.rates);
      if (Object.keys(rates).length === 0) return;
      for (const chip of part.querySelectorAll("[data-event]")) {
        const rate = rates[chip.dataset.event] ?? 0;
        chip.querySelector("b").textContent = rate ? ` ${rate}/s` : "";
        chip.classList.toggle("busy", rate > 0);
      }
      for (const stage of part.querySelectorAll("[data-behind]")) {
        if (stage.dataset.behind in behind) stage.textContent = `${behind[stage.dataset.behind].toLocaleString("en")} behind`;
      }
      note.textContent = "Rates are live: events a second, as the workers of this machine count them. Delays are of the last look.";
    } catch {
      note.textContent = counted;
    }
  });
}
