// Text that comes from outside and will be shown to people.
#ifndef URSA_EXPERIMENTS_UTF8_H_
#define URSA_EXPERIMENTS_UTF8_H_

#include <string_view>

namespace ursa {

// Whether `text` is valid UTF-8 (shortest forms, no surrogates, at most U+10FFFF) without control characters (C0, DEL,
// C1), so that it can stand in a protobuf string and on a terminal.
bool IsPrintableUtf8(std::string_view text);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_UTF8_H_
