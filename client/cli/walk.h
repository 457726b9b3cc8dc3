// Finding pictures in a folder, as fastai's get_image_files does, but in an order that does not depend on the file
// system.
#ifndef URSA_CLIENT_CLI_WALK_H_
#define URSA_CLIENT_CLI_WALK_H_

#include <cstdint>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa::cli {

// Extensions of pictures, lower case, without the dot.
const std::vector<std::string>& PictureExtensions();

// Whether the text after the name's last dot is one of them, in any case.
bool HasPictureExtension(std::string_view name);

// How labels are made: "parent" (the folder that holds the file) or "regex:PATTERN" (its first group, searched in the
// file's name; in the path if the pattern has a slash, which then begins with one).
class LabelRule {
 public:
  // Errors: INVALID_ARGUMENT: another rule, naming these; a pattern that cannot be compiled or has no group.
  static absl::StatusOr<LabelRule> Parse(const std::string& text);

  bool is_parent() const { return !pattern_.has_value(); }

  // The label of a file, or nothing when the pattern does not match. `source` is relative, with slashes.
  std::optional<std::string> LabelOf(const std::string& source) const;

 private:
  std::optional<std::regex> pattern_;
  bool whole_path_ = false;
};

struct FoundFile {
  std::string source;   // relative to the root, with slashes, valid UTF-8 without control characters; shown to people
  std::string path;     // to open it by
  int64_t size = 0;     // bytes
  std::string refused;  // why it cannot be read; empty if it can
};

struct WalkResult {
  std::vector<FoundFile> files;  // by source, bytewise; each source once
  int64_t num_ignored = 0;       // files that are no pictures by their name, and those in the root if so asked
};

// Walks `root` depth first, following links to files and folders (a folder inside itself is entered once). Names that
// start with a dot are skipped and not counted. Files directly in the root are ignored and counted if
// `ignore_root_files`. What cannot be read is a file with a reason.
// Errors: NOT_FOUND, FAILED_PRECONDITION (`root` is no folder), PERMISSION_DENIED.
absl::StatusOr<WalkResult> WalkPictures(const std::string& root, bool ignore_root_files);

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_WALK_H_
