#!/usr/bin/env bash
# Simulates nodes that merge, over random schedules: src/merge/simulation. No server is asked; some minutes on two cores.
#
# usage: [EACH=350] [WRONG=6000] scripts/sim.sh           schedules for each rule and topology, and for each wrong variant
#        SEED=n [VARIANT=no-tombstone] scripts/sim.sh     one schedule, with a trace
#        ONLY="mesh of 3" [SEED=n] scripts/sim.sh         setups with that in their name, wrong ones too; their seeds count anew
#
# Ends with 1 when a schedule diverged, or when a wrong variant was not seen to.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo test --quiet --locked --lib -- --ignored --nocapture --exact merge::simulation::sim
