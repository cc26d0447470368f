// Generated headers include this name after "base_types.h"; the templates of idl/base.thrift's types live there.
#pragma once
