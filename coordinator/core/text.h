// Text from outside, made fit for proto3 strings.
#ifndef URSA_COORDINATOR_CORE_TEXT_H_
#define URSA_COORDINATOR_CORE_TEXT_H_

#include <string>
#include <string_view>

namespace ursa {

// `bytes` as valid UTF-8: each byte that is no part of a shortest-form sequence up to U+10FFFF becomes U+FFFD.
std::string ToUtf8(std::string_view bytes);

}  // namespace ursa

#endif  // URSA_COORDINATOR_CORE_TEXT_H_
