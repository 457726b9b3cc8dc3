// The word that somebody probably meant.
#ifndef URSA_EXPERIMENTS_NEAREST_H_
#define URSA_EXPERIMENTS_NEAREST_H_

#include <string>
#include <string_view>
#include <vector>

namespace ursa {

// The one of `words` with the smallest edit distance (insertions, deletions, replacements) to `word`, the first on a
// tie; empty if all are further than a third of the longer one's length (at least 2 edits are forgiven).
std::string Nearest(std::string_view word, const std::vector<std::string>& words);

}  // namespace ursa

#endif  // URSA_EXPERIMENTS_NEAREST_H_
