// The work between two moments is the area under the load: whatever the guest, the time, and the step.
import { strict as assert } from "node:assert";
import { describe, test } from "node:test";
import fc from "fast-check";
import { LoadCurve, OFFICE_LOAD } from "./load.ts";

const START_S = Date.UTC(2026, 0, 1) / 1000;

describe("load curve", () => {
  test("work is the integral of load, and never goes back", () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 0, max: 30 * 86_400 }), (name, offsetS) => {
        const curve = new LoadCurve(OFFICE_LOAD, 7, name);
        const fromS = START_S + offsetS;
        let area = 0;
        for (let second = 0; second < 3_600; second += 1) area += curve.at(fromS + second + 0.5);
        const work = curve.work(fromS + 3_600) - curve.work(fromS);
        assert.ok(Math.abs(work - area) < 5, `${work} is not ${area}`);
        assert.ok(work >= 0);
      }),
      { numRuns: 30 },
    );
  });

  test("nobody is busier than it can be, and the same seed is the same guest", () => {
    for (let guest = 0; guest < 200; guest += 1) {
      const curve = new LoadCurve(OFFICE_LOAD, 1, `vm${guest}`);
      for (let hour = 0; hour < 24; hour += 1) {
        const load = curve.at(START_S + hour * 3_600);
        assert.ok(load >= 0 && load <= 1, `${load}`);
        assert.equal(load, new LoadCurve(OFFICE_LOAD, 1, `vm${guest}`).at(START_S + hour * 3_600));
      }
      assert.ok(curve.memory(0) < curve.memory(86_400));
    }
  });

  test("the afternoon is busier than the night", () => {
    assert.ok(sumAt(14) > 1.3 * sumAt(3), `${sumAt(14)} against ${sumAt(3)}`);
  });
});

function sumAt(hour: number): number {
  const guests = Array.from({ length: 500 }, (_each, guest) => new LoadCurve(OFFICE_LOAD, 1, `vm${guest}`));
  return guests.reduce((sum, curve) => sum + curve.at(START_S + hour * 3_600), 0);
}
