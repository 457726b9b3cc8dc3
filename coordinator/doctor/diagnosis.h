// Who keeps a gang from going on: one sentence, from what its ranks last said of where they are. Pure.
#ifndef URSA_COORDINATOR_DOCTOR_DIAGNOSIS_H_
#define URSA_COORDINATOR_DOCTOR_DIAGNOSIS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace ursa {

// Where a rank was when its process was last heard of.
struct RankReport {
  int32_t rank = 0;
  std::string worker;          // "w2"
  int64_t step = 0;            // optimizer steps done
  int64_t collectives = 0;     // entered since the group was formed; the same ones on each rank, in the same order
  bool in_collective = false;  // and the last of them is not left
  std::string doing;           // "waits for a batch"; in a collective, which one: "all-reduce"
  absl::Time since;            // it has been doing that
  absl::Time heard;            // when the process last said so
};

struct DiagnosisOptions {
  absl::Duration quiet = absl::Seconds(10);   // a gang of which nothing moved for so long is looked at
  absl::Duration silence = absl::Seconds(5);  // a process unheard for so long does not run
};

struct Diagnosis {
  std::vector<int32_t> late;  // ranks, at least one; all of them if none is behind the others
  absl::Time since;           // nothing has moved since
  // "rank 1 on w2 is late: it waits for a batch since 12:03:05 UTC (35 s), at step 41, after collective 120; rank 0
  // waits in all-reduce 121"
  std::string text;
};

// Nothing if any of the ranks has moved within `quiet`, or there are none. Behind the others is who has entered or left
// fewer collectives; of equals, whose process is silent.
std::optional<Diagnosis> Diagnose(const std::vector<RankReport>& ranks, absl::Time now,
                                  const DiagnosisOptions& options);

}  // namespace ursa

#endif  // URSA_COORDINATOR_DOCTOR_DIAGNOSIS_H_
