/** What a page looks like, measured: texts and controls that are too small, texts over each other. */

globalThis.geometry = (() => {
  const isVisible = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const told = (element) =>
    `${element.closest("section")?.id}: ${element.getAttribute("aria-label") ?? element.textContent.trim().slice(0, 40)}`;
  const texts = (drawing) =>
    [...drawing.querySelectorAll("text")].filter((text) => isVisible(text) && text.getBBox().width > 0);

  /** Press a key on every handle, and move every slider to its end. */
  function moveAll(key) {
    if (key !== "Home" && key !== "End") return;
    for (const handle of document.querySelectorAll("[role=slider]")) {
      handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    }
    for (const input of document.querySelectorAll("input[type=range]")) {
      input.value = key === "Home" ? input.min : input.max;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  function smallTexts(least) {
    return [...document.querySelectorAll("svg text")].filter(isVisible).flatMap((text) => {
      const { a, b, c, d } = text.getScreenCTM();
      const size = parseFloat(getComputedStyle(text).fontSize) * Math.sqrt(Math.abs(a * d - b * c));
      return size < least ? [`${told(text)}: ${size.toFixed(1)} px`] : [];
    });
  }

  /** The corners of a text on the screen, which may be turned. */
  function corners(text) {
    const { x, y, width, height } = text.getBBox();
    const places = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
    return places.map((place) => new DOMPoint(...place).matrixTransform(text.getScreenCTM()));
  }

  /** How deep two boxes lie in each other: the least over the directions of their sides. */
  function depth(first, second) {
    const sides = [first, second].flatMap((box) => [1, 3].map((k) => [box[k].x - box[0].x, box[k].y - box[0].y]));
    return Math.min(
      ...sides.map(([right, down]) => {
        const length = Math.hypot(right, down);
        const along = (box) => box.map(({ x, y }) => (x * right + y * down) / length);
        const [mine, other] = [along(first), along(second)];
        return Math.min(Math.max(...mine), Math.max(...other)) - Math.max(Math.min(...mine), Math.min(...other));
      }),
    );
  }

  function overlaps(most) {
    return [...document.querySelectorAll("svg")].flatMap((drawing) => {
      const boxes = texts(drawing).map((text) => [text, corners(text)]);
      return boxes.flatMap(([text, box], place) =>
        boxes
          .slice(place + 1)
          .map(([other, otherBox]) => [other, depth(box, otherBox)])
          .filter(([, deep]) => deep > most)
          .map(([other, deep]) => `${told(text)} | ${told(other)}: ${deep.toFixed(1)} px`),
      );
    });
  }

  /** Controls that a finger misses; a radio button is its label. */
  function smallControls(least) {
    const controls = document.querySelectorAll("[role=slider], button, input, select, summary, nav a");
    return [...controls].filter((control) => control.checkVisibility()).flatMap((control) => {
      const target = control.type === "radio" ? control.closest("label") : control;
      const { width, height } = target.getBoundingClientRect();
      const size = `${width.toFixed(1)} × ${height.toFixed(1)} px`;
      return Math.min(width, height) < least - 0.01 ? [`${told(control)}: ${size}`] : [];
    });
  }

  return { moveAll, smallTexts, overlaps, smallControls };
})();
