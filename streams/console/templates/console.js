// Keeps the live figures fresh; a page says all else without it.
for (const part of document.querySelectorAll("[data-live]")) {
  const figures = part.querySelector("[data-figures]");
  const show = async () => {
    try {
      const answer = await fetch(part.dataset.live);
      const told = await answer.json();
      figures.replaceChildren(...told.figures.map(({ title, value }) => {
        const tile = document.createElement("li"), name = document.createElement("span"), number = document.createElement("strong");
        name.textContent = title;
        number.textContent = value;
        tile.append(name, number);
        return tile;
      }));
    } catch {
      figures.textContent = "The live views do not answer; the figures below are exact.";
    }
  };
  show();
  setInterval(show, 2000);
}
