/** Layers: the pictures that the outputs of a run have, one of each plane. */

import { PLANES } from "../generated/choices";

interface Attributes {
  dtype: string;
  axes: readonly string[];
  label: string;
  quantity: string;
}

export interface Layer<Name extends string> {
  name: string;
  label: string;
  /** Name of the values. */
  quantity: string;
  output: Name;
  /** Code of the plane; null for the sum of all planes, and for an output without planes. */
  plane: number | null;
  /** Whether the values are 0 and 1, for no and yes. */
  isBoolean: boolean;
}

/**
 * Return the layers of outputs, first those of energies, then of counts, then of booleans.
 *
 * An output without planes has one layer, an output with planes one for each. Counts are also added
 * up over the planes. An output that does not end with the axes y and x has no layer.
 */
export function makeLayers<Name extends string>(
  outputs: Readonly<Record<Name, Attributes>>,
): Layer<Name>[] {
  const entries = Object.entries(outputs) as [Name, Attributes][];
  const isCount = ({ dtype }: Attributes): boolean => dtype.startsWith("int");
  const isBoolean = ({ dtype }: Attributes): boolean => dtype === "bool";
  const place = (attributes: Attributes): number =>
    isBoolean(attributes) ? 2 : isCount(attributes) ? 1 : 0;
  const sorted = entries.sort(([, one], [, other]) => place(one) - place(other));
  return sorted.flatMap(([output, attributes]) => {
    const { axes, label, quantity } = attributes;
    const whole = {
      name: output,
      label,
      quantity,
      output,
      plane: null,
      isBoolean: isBoolean(attributes),
    };
    switch (axes.join()) {
      case "y,x":
        return [whole];
      case "plane,y,x":
        return [
          ...(isCount(attributes) ? [whole] : []),
          ...PLANES.map((name, plane) => ({
            ...whole,
            name: `${output}_${name}`,
            label: `${label} ${name}`,
            plane,
          })),
        ];
      default:
        return [];
    }
  });
}
