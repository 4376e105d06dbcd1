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
}

/**
 * Return the layers of outputs, those of counts last.
 *
 * An output without planes has one layer, an output with planes one for each. Counts are also added
 * up over the planes. An output that does not end with the axes y and x has no layer.
 */
export function makeLayers<Name extends string>(
  outputs: Readonly<Record<Name, Attributes>>,
): Layer<Name>[] {
  const entries = Object.entries(outputs) as [Name, Attributes][];
  const isCount = ({ dtype }: Attributes): boolean => dtype.startsWith("int");
  return [
    ...entries.filter(([, attributes]) => !isCount(attributes)),
    ...entries.filter(([, attributes]) => isCount(attributes)),
  ].flatMap(([output, attributes]) => {
    const { axes, label, quantity } = attributes;
    const whole = { name: output, label, quantity, output, plane: null };
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
