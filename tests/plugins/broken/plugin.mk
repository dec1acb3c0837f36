# Each of these is refused by the loader for a reason of its own, but good and newer.
BROKEN := good abi magic size kind nullops nullname misnamed nullslot halflayers shortops option noobject newer
$(foreach b,$(BROKEN),$(eval $(call ctr-plugin,storage-$(b),$(b).c,,,tests/plugins-broken)))
$(eval $(call ctr-plugin,storage-nosymbol,nosymbol.c,,,tests/plugins-broken,-Wl$(comma)-z$(comma)undefs -Wl$(comma)-z$(comma)lazy))
