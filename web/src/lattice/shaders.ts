/** GLSL of the view. Standings are those of `lineage.ts`, divided by 3. */

const FOLD = `
float fold(float q) {
  return abs(q) <= 1.0 ? q : 1.0 - abs(mod(q + 1.0, 4.0) - 2.0);
}`;

/** Flows as round dots; each on its way from `position` to `aim`, folded at the walls. */
export const POINT_VERTEX = `
${FOLD}
attribute vec3 aim;
attribute float value;
attribute float standing;
attribute float atOnce;
uniform float fraction;
uniform float size;
uniform sampler2D scale;
varying vec3 vColour;
varying float vStanding;
void main() {
  vec3 at = atOnce > 0.5 ? position : mix(position, aim, fraction);
  at.xy = vec2(fold(at.x), fold(at.y));
  vec4 seen = modelViewMatrix * vec4(at, 1.0);
  gl_Position = projectionMatrix * seen;
  vStanding = standing * 3.0;
  vColour = texture2D(scale, vec2(value * 0.996 + 0.002, 0.5)).rgb;
  float emphasis = vStanding > 2.5 ? 1.7 : vStanding < 1.5 ? 0.75 : 1.0;
  gl_PointSize = vStanding < 0.5 ? 0.0 : size * emphasis * projectionMatrix[1][1] / -seen.z;
}`;

export const POINT_FRAGMENT = `
uniform float opacity;
varying vec3 vColour;
varying float vStanding;
void main() {
  if (vStanding < 0.5) discard;
  float off = 2.0 * length(gl_PointCoord - 0.5);
  float edge = 1.0 - smoothstep(0.82, 1.0, off);
  if (edge <= 0.0) discard;
  float alpha = edge * opacity * (vStanding < 1.5 ? 0.2 : 1.0);
  gl_FragColor = vec4(vColour * (1.0 - 0.35 * off * off), alpha);
}`;

/** Ways of flows; what lies ahead of now is not there yet, what lies long behind has faded. */
export const TRAIL_VERTEX = `
attribute float time;
attribute float value;
attribute float standing;
uniform sampler2D scale;
varying vec3 vColour;
varying float vStanding;
varying float vTime;
void main() {
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);
  vColour = texture2D(scale, vec2(value * 0.996 + 0.002, 0.5)).rgb;
  vStanding = standing * 3.0;
  vTime = time;
}`;

export const TRAIL_FRAGMENT = `
uniform float now;
uniform float span;
uniform float opacity;
varying vec3 vColour;
varying float vStanding;
varying float vTime;
void main() {
  float age = now - vTime;
  if (vStanding < 0.5 || age < 0.0 || age > span) discard;
  float faded = 1.0 - age / span;
  gl_FragColor = vec4(vColour, opacity * faded * (vStanding < 1.5 ? 0.16 : 1.0));
}`;
