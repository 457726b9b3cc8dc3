// Text that comes from outside and will be shown to people; and the word that somebody probably meant.
#ifndef URSA_BASE_TEXT_H_
#define URSA_BASE_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ursa {

// Bytes of the well-formed UTF-8 sequence (Unicode 15, table 3-7: shortest form, no surrogate, at most U+10FFFF) that
// `text` starts with; 0 if there is none.
size_t Utf8SequenceLength(std::string_view text);

// Whether all of `text` is well-formed UTF-8.
bool IsValidUtf8(std::string_view text);

// Whether it is, and has no control characters (C0, DEL, C1): it can stand in a protobuf string and on a terminal.
bool IsPrintableUtf8(std::string_view text);

// `text` with every byte that is not part of well-formed UTF-8 replaced by U+FFFD.
std::string ToValidUtf8(std::string_view text);

// The one of `words` that is nearest to `word` by edit distance (insert, delete, replace, swap of neighbours), the
// first on a tie. Empty if all are too far to be what was meant: more than 2 edits (1 if `word` has less than 4
// letters), and more than a third of the longer one's length.
std::string NearestWord(std::string_view word, const std::vector<std::string>& words);

}  // namespace ursa

#endif  // URSA_BASE_TEXT_H_
