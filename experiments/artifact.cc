#include "experiments/artifact.h"

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "experiments/textproto.h"

namespace ursa {

std::string TransformHash(const v1::DataSpec& resolved) {
  return Sha256Hex(absl::StrCat("ursa transforms 1\n", CanonicalText(resolved.item_transforms()), "\n",
                                CanonicalText(resolved.batch_transforms())));
}

std::string ArtifactHash(std::string_view weights_hash, std::string_view architecture, std::string_view transform_hash,
                         const std::vector<std::string>& classes) {
  // Each part goes in with its length before it, so that no two artifacts give the same bytes.
  Sha256 hash;
  hash.Update("ursa artifact 1\n");
  const auto add = [&hash](std::string_view part) {
    hash.Update(absl::StrCat(part.size(), ":"));
    hash.Update(part);
  };
  add(weights_hash);
  add(architecture);
  add(transform_hash);
  for (const std::string& label : classes) add(label);
  return hash.FinishHex();
}

}  // namespace ursa
