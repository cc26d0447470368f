#include "rpc/codec.h"

namespace markab::rpc::codec_detail {

Status decode_failed(std::string_view what, std::string_view reason) {
  return Status(Errc::kInvalidData, fmt::format("the {} could not be decoded: {}", what, reason));
}

}  // namespace markab::rpc::codec_detail
