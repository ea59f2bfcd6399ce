// Indices and places of samples in C order.

export const product = (sizes) => sizes.reduce((all, n) => all * n, 1);

/** The index on each axis of a place. */
export function placesOf(place, sizes) {
  const index = new Array(sizes.length);
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    index[axis] = place % sizes[axis];
    place = Math.floor(place / sizes[axis]);
  }
  return index;
}

/** What fills in rows of coordinates of samples first … first + count - 1 of a grid whose axes have those given. */
export const fillFromGrid = (axes) => (first, count, coordinates) => {
  for (let i = 0; i < count; i++) {
    let rest = first + i;
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      const n = axes[axis].length;
      coordinates[axis * count + i] = axes[axis][rest % n];
      rest = Math.floor(rest / n);
    }
  }
};
