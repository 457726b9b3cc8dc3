// What a verdict is called, and what a command exits with.
#ifndef URSA_CLIENT_CLI_VERDICT_H_
#define URSA_CLIENT_CLI_VERDICT_H_

#include <string>

#include "ursa/v1/comparisons.pb.h"

namespace ursa::cli {

// "pass", "fail", "need more data"; "-" when there is none yet.
std::string VerdictWord(v1::Verdict verdict);

// kExitDone, kExitGateFailed or kExitNeedMoreData; kExitFailed when there is none.
int ExitStatusOf(v1::Verdict verdict);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_VERDICT_H_
