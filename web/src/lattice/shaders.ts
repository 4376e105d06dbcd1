/** GLSL of the view. `emphasis` is a constant of `lineage.ts`, divided by 3. */

const FOLD = `
float fold(float q) {
  return abs(q) <= 1.0 ? q : 1.0 - abs(mod(q + 1.0, 4.0) - 2.0);
}`;

/** Flows as round dots that move from `position` to `target`, reflected at the walls. */
export const POINT_VERTEX = `
${FOLD}
attribute vec3 target;
attribute float value;
attribute float emphasis;
attribute float jumps;
uniform float fraction;
uniform float size;
uniform sampler2D scale;
varying vec3 vColour;
varying float vEmphasis;
void main() {
  vec3 at = jumps > 0.5 ? position : mix(position, target, fraction);
  at.xy = vec2(fold(at.x), fold(at.y));
  vec4 seen = modelViewMatrix * vec4(at, 1.0);
  gl_Position = projectionMatrix * seen;
  vEmphasis = emphasis * 3.0;
  vColour = texture2D(scale, vec2(value * 0.996 + 0.002, 0.5)).rgb;
  float factor = vEmphasis > 2.5 ? 1.7 : vEmphasis < 1.5 ? 0.75 : 1.0;
  gl_PointSize = vEmphasis < 0.5 ? 0.0 : size * factor * projectionMatrix[1][1] / -seen.z;
}`;

export const POINT_FRAGMENT = `
uniform float opacity;
varying vec3 vColour;
varying float vEmphasis;
void main() {
  if (vEmphasis < 0.5) discard;
  float off = 2.0 * length(gl_PointCoord - 0.5);
  float edge = 1.0 - smoothstep(0.82, 1.0, off);
  if (edge <= 0.0) discard;
  float alpha = edge * opacity * (vEmphasis < 1.5 ? 0.2 : 1.0);
  gl_FragColor = vec4(vColour * (1.0 - 0.35 * off * off), alpha);
}`;

/** Trails of flows. Points after `now` are not drawn; points before it fade over `span` steps. */
export const TRAIL_VERTEX = `
attribute float time;
attribute float value;
attribute float emphasis;
uniform sampler2D scale;
varying vec3 vColour;
varying float vEmphasis;
varying float vTime;
void main() {
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
  vColour = texture2D(scale, vec2(value * 0.996 + 0.002, 0.5)).rgb;
  vEmphasis = emphasis * 3.0;
  vTime = time;
}`;

export const TRAIL_FRAGMENT = `
uniform float now;
uniform float span;
uniform float opacity;
varying vec3 vColour;
varying float vEmphasis;
varying float vTime;
void main() {
  float age = now - vTime;
  if (vEmphasis < 0.5 || age < 0.0 || age > span) discard;
  float faded = 1.0 - age / span;
  gl_FragColor = vec4(vColour, opacity * faded * (vEmphasis < 1.5 ? 0.16 : 1.0));
}`;
